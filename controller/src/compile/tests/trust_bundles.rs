//! ClusterTrustBundles as authorities of backends and of clients (GEP-5075).

use super::gateways::secret;
use super::{GATEWAY, World};
use crate::resources::{ClusterTrustBundle, Edit, Kind, Object};
use crate::source::objects;
use fairway_config::model::{BackendSecurity, BackendTrust, ListenerProtocol, Resource, ResourceKind};

const POLICY: &str = "BackendTLSPolicy infra/p";
const ANCESTOR: &str = "ancestor Gateway edge/public";

/// A route to a Service with a policy that trusts a bundle, and a Gateway whose clients are verified with the same one.
const SCENE: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: fairway }
spec: { controllerName: fairway.dev/controller }
---
apiVersion: v1
kind: Service
metadata: { name: tls, namespace: infra }
spec: { clusterIP: 10.1.0.1, ports: [{ name: https, port: 443 }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r, namespace: infra }
spec:
  parentRefs: [{ name: public, namespace: edge }]
  rules: [{ backendRefs: [{ name: tls, port: 443 }] }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: p, namespace: infra }
spec:
  targetRefs: [{ group: '', kind: Service, name: tls }]
  validation: { hostname: a.example.com, caCertificateRefs: [{ group: certificates.k8s.io, kind: ClusterTrustBundle, name: 'example.com:ca:v1' }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: mutual, namespace: edge }
spec:
  gatewayClassName: fairway
  tls: { frontend: { default: { validation: { caCertificateRefs: [{ group: certificates.k8s.io, kind: ClusterTrustBundle, name: 'example.com:ca:v1' }] } } } }
  listeners: [{ name: https, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: cert }] } }]
";

fn authority() -> String {
    rcgen::generate_simple_self_signed(["authority".to_owned()]).unwrap().cert.pem()
}

fn bundle(version: &str, pem: &str) -> String {
    let text = serde_json::Value::String(pem.to_owned());
    format!(
        "\n---\napiVersion: certificates.k8s.io/{version}\nkind: ClusterTrustBundle\nmetadata: {{ name: 'example.com:ca:v1' }}\n\
         spec: {{ signerName: example.com/ca, trustBundle: {text} }}\n"
    )
}

/// A cluster that has the kind, or not.
fn world(has_kind: bool) -> World {
    let mut world = World::cluster(&(GATEWAY.to_owned() + SCENE + &secret("edge")));
    if has_kind {
        world.apply(vec![Edit::Upsert(ClusterTrustBundle::of_kind())]);
    }
    world
}

/// How many authorities backends are verified with; none where nothing is sent.
fn of_backends(world: &World) -> Option<usize> {
    match world.resource(ResourceKind::Backend, "infra/tls:443") {
        Some(Resource::Backend(it)) => match &it.security {
            BackendSecurity::Tls(tls) => match &tls.trust {
                BackendTrust::Bundle(it) => Some(it.roots().len()),
                BackendTrust::System => panic!("those of the system are not asked for"),
            },
            BackendSecurity::Unusable(_) => None,
            other => panic!("in the clear: {other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// How many authorities clients are verified with; none where nobody is served.
fn of_clients(world: &World) -> Option<usize> {
    match world.resource(ResourceKind::Listener, "edge/mutual/https") {
        Some(Resource::Listener(it)) => match &it.protocol {
            ListenerProtocol::Https(tls) => {
                Some(tls.clients.as_ref().expect("clients are verified").trust.roots().len())
            }
            _ => None,
        },
        _ => None,
    }
}

#[track_caller]
fn expect_trusted(world: &World, roots: usize) {
    assert_eq!((of_backends(world), of_clients(world)), (Some(roots), Some(roots)));
    world.expect(POLICY, &format!("{ANCESTOR}: Accepted=True/Accepted"));
    world.expect(POLICY, &format!("{ANCESTOR}: ResolvedRefs=True/ResolvedRefs"));
    for kind in ["Accepted", "ResolvedRefs", "Programmed"] {
        world.expect("Gateway edge/mutual", &format!("listener https: {kind}=True/{kind}"));
    }
}

/// `reason` is that of the policy, and of the listener.
#[track_caller]
fn expect_closed(world: &World, reason: (&str, &str)) {
    assert_eq!((of_backends(world), of_clients(world)), (None, None));
    world.expect(POLICY, &format!("{ANCESTOR}: ResolvedRefs=False/{}", reason.0));
    world.expect(POLICY, &format!("{ANCESTOR}: Accepted=False/NoValidCACertificate"));
    world.expect("Gateway edge/mutual", &format!("listener https: ResolvedRefs=False/{}", reason.1));
    world.expect("Gateway edge/mutual", "listener https: Accepted=False/NoValidCACertificate");
}

const BAD: (&str, &str) = ("InvalidCACertificateRef", "InvalidCACertificateRef");
const NOT_SERVED: (&str, &str) = ("InvalidKind", "InvalidCACertificateKind");

#[test]
fn a_bundle_is_trusted_as_it_is_and_what_is_none_closes() {
    for version in ["v1", "v1beta1", "v1alpha1"] {
        let mut world = world(true);
        expect_closed(&world, BAD);
        world.add(&bundle(version, &authority()));
        expect_trusted(&world, 1);
        world.add(&bundle(version, &(authority() + "\n" + &authority())));
        expect_trusted(&world, 2);
        for broken in ["", "rubbish", &authority().replace("CERTIFICATE", "PRIVATE KEY")] {
            world.add(&bundle(version, broken));
            expect_closed(&world, BAD);
        }
    }
}

#[test]
fn anchors_of_a_bundle_that_was_deleted_are_not_used() {
    let mut world = world(true);
    let first = bundle("v1", &authority());
    world.add(&first);
    expect_trusted(&world, 1);
    world.remove(&first);
    expect_closed(&world, BAD);
    world.add(&bundle("v1", &authority()));
    expect_trusted(&world, 1);
}

#[test]
fn a_kind_that_the_cluster_does_not_have_is_told_apart_from_a_bundle_that_is_not_there() {
    let mut world = world(false);
    expect_closed(&world, NOT_SERVED);
    let said = world.message_of(POLICY, ANCESTOR, "ResolvedRefs");
    assert!(said.contains("does not serve ClusterTrustBundles"), "{said}");
    // Everything else is served.
    world.expect("Gateway edge/public", "listener http: Programmed=True/Programmed");
    let claims = |world: &World| {
        let status = crate::status::render(world.status("GatewayClass fairway"));
        status["supportedFeatures"].as_array().unwrap().iter().any(|it| it["name"] == "ClusterTrustBundle")
    };
    assert!(!claims(&world));
    world.apply(vec![Edit::Upsert(ClusterTrustBundle::of_kind())]);
    expect_closed(&world, BAD);
    assert!(claims(&world));
    world.add(&bundle("v1beta1", &authority()));
    expect_trusted(&world, 1);
    // The API server stops to serve it.
    world.remove(&bundle("v1beta1", &authority()));
    world.apply(vec![Edit::Remove(ClusterTrustBundle::of_kind().reference())]);
    expect_closed(&world, NOT_SERVED);
    assert!(!claims(&world));
}

#[test]
fn a_bundle_stands_beside_other_authorities_of_clients() {
    let map = super::clients::config_map("edge", "ca", "ca.crt", &authority());
    let both = "caCertificateRefs: [{ group: '', kind: ConfigMap, name: ca }, { group: certificates.k8s.io, kind: ClusterTrustBundle, name: 'example.com:ca:v1' }]";
    let one = "caCertificateRefs: [{ group: certificates.k8s.io, kind: ClusterTrustBundle, name: 'example.com:ca:v1' }] } } } }";
    let scene = SCENE.replace(one, &format!("{both} }} }} }} }}"));
    assert_ne!(scene, SCENE);
    let mut world = World::cluster(&(GATEWAY.to_owned() + &scene + &secret("edge") + &map));
    world.apply(vec![Edit::Upsert(ClusterTrustBundle::of_kind())]);
    assert_eq!(of_clients(&world), Some(1), "fewer are believed, never more");
    world.expect("Gateway edge/mutual", "listener https: ResolvedRefs=False/InvalidCACertificateRef");
    world.add(&bundle("v1", &authority()));
    assert_eq!(of_clients(&world), Some(2));
}

/// The bundle has no namespace; one that is written leads nowhere, also where nothing has checked it.
#[test]
fn a_reference_to_a_bundle_has_no_namespace() {
    let mut world = world(true);
    world.add(&bundle("v1", &authority()));
    expect_trusted(&world, 1);
    let gateway = SCENE.split("\n---\n").last().unwrap();
    let mut manifest: serde_json::Value = serde_saphyr::from_str(gateway).unwrap();
    let reference = &mut manifest["spec"]["tls"]["frontend"]["default"]["validation"]["caCertificateRefs"][0];
    reference["namespace"] = "edge".into();
    world.apply(vec![Edit::Upsert(Object::parse(Kind::Gateway, manifest).unwrap())]);
    assert_eq!((of_backends(&world), of_clients(&world)), (Some(1), None));
    world.expect("Gateway edge/mutual", "listener https: ResolvedRefs=False/InvalidCACertificateRef");
}

#[test]
fn files_may_have_bundles() {
    let mut world = World::plain(&(GATEWAY.to_owned() + SCENE + &secret("edge")));
    expect_closed(&world, BAD);
    world.add(&bundle("v1", &authority()));
    expect_trusted(&world, 1);
    assert_eq!(objects(&bundle("v1", &authority())).len(), 1);
}
