//! The table of the kinds of objects that are read: one row for each.
//!
//! What has to know every kind is made from it: [`Kind`](super::Kind) with names, groups and versions, the aliases of the types
//! ([`super`]), [`Object`](super::Object) and how it is parsed, what queries can read (`compile::inputs`), which objects are
//! policies (`compile::policy::attach`), and the schemas of manifests (`source::schema`). A new kind takes a row here.

/// Calls a macro with all rows, in the order in which reports name the kinds. `policies` are those that go the way of
/// `compile::policy`. Objects of the kinds under `unhandled` are read so that their status can say that Fairway does not carry
/// them out; they have one type, [`Unhandled`](super::Unhandled).
///
/// The name of a row is that of its variant in [`Kind`](super::Kind) and [`Object`](super::Object), and of its type in
/// [`resources`](super). Then, in each row:
///
/// - `kind`, `group`: what a manifest says. The core group is empty.
/// - `versions`: those whose schema is that of the type. The first is read where it is served.
/// - `key`: what names an object within the kind: `ObjectName`, or `str` for kinds without a namespace.
/// - `spec`: the type of `spec`. The kind's type is then `Typed<spec>`. A kind without it has a type of its own, with
///   `impl FromManifest`.
/// - `schema`: the file in `schemas/`, if manifests are checked as the API server would check them.
macro_rules! for_each_kind {
    ($each:ident) => {
        $each! {
            objects {
                /// A Namespace: its labels, which listeners select routes by.
                Namespace { kind: "Namespace", group: "", versions: ["v1"], key: str, }
                /// A Service: its ports, and which pods it selects.
                Service { kind: "Service", group: "", versions: ["v1"], key: ObjectName, }
                /// An EndpointSlice: addresses behind a Service.
                EndpointSlice { kind: "EndpointSlice", group: "discovery.k8s.io", versions: ["v1"], key: ObjectName, }
                /// A Pod: its addresses, its ServiceAccount, and whether it is ready.
                Pod { kind: "Pod", group: "", versions: ["v1"], key: ObjectName, }
                /// A Node: its addresses, and those that it has for its pods.
                Node { kind: "Node", group: "", versions: ["v1"], key: str, }
                /// A Secret: a certificate with its private key, or authorities.
                Secret { kind: "Secret", group: "", versions: ["v1"], key: ObjectName, }
                /// A ConfigMap: authorities that clients or backends are verified with.
                ConfigMap { kind: "ConfigMap", group: "", versions: ["v1"], key: ObjectName, }
                /// A ClusterTrustBundle: authorities that every namespace may verify clients or backends with (GEP-5075).
                ClusterTrustBundle {
                    kind: "ClusterTrustBundle", group: "certificates.k8s.io", versions: ["v1", "v1beta1", "v1alpha1"],
                    key: str,
                }
                /// A CustomResourceDefinition: which version of the Gateway API is installed.
                Definition {
                    kind: "CustomResourceDefinition", group: "apiextensions.k8s.io", versions: ["v1"], key: str,
                }
                /// A GatewayClass: which controller serves its Gateways, and with which parameters.
                GatewayClass {
                    kind: "GatewayClass", group: GATEWAY_API, versions: ["v1", "v1beta1"], key: str,
                    spec: api::gatewayclasses::GatewayClassSpec,
                    schema: "gatewayclasses.json",
                }
                /// A Gateway: listeners, and the proxies that serve them.
                Gateway {
                    kind: "Gateway", group: GATEWAY_API, versions: ["v1", "v1beta1"], key: ObjectName,
                    schema: "gateways.json",
                }
                /// A ListenerSet: listeners that another namespace may add to a Gateway (GEP-1713).
                ListenerSet {
                    kind: "ListenerSet", group: GATEWAY_API, versions: ["v1"], key: ObjectName,
                    spec: ListenerSetSpec,
                    schema: "listenersets.json",
                }
                /// An HTTPRoute with the spec that the CRD's schema allows.
                HttpRoute {
                    kind: "HTTPRoute", group: GATEWAY_API, versions: ["v1", "v1beta1"], key: ObjectName,
                    spec: api::httproutes::HttpRouteSpec,
                    schema: "httproutes.json",
                }
                /// A GRPCRoute with the spec that the CRD's schema allows.
                GrpcRoute {
                    kind: "GRPCRoute", group: GATEWAY_API, versions: ["v1"], key: ObjectName,
                    spec: api::grpcroutes::GrpcRouteSpec,
                    schema: "grpcroutes.json",
                }
                /// A TLSRoute with the spec that the CRD's schema allows.
                TlsRoute {
                    kind: "TLSRoute", group: GATEWAY_API, versions: ["v1", "v1alpha3", "v1alpha2"], key: ObjectName,
                    spec: api::tlsroutes::TlsRouteSpec,
                    schema: "tlsroutes.json",
                }
                /// A TCPRoute with the spec that the CRD's schema allows.
                TcpRoute {
                    kind: "TCPRoute", group: GATEWAY_API, versions: ["v1", "v1alpha2"], key: ObjectName,
                    spec: api::tcproutes::TcpRouteSpec,
                    schema: "tcproutes.json",
                }
                /// A UDPRoute with the spec that the CRD's schema allows.
                UdpRoute {
                    kind: "UDPRoute", group: GATEWAY_API, versions: ["v1", "v1alpha2"], key: ObjectName,
                    spec: api::udproutes::UdpRouteSpec,
                    schema: "udproutes.json",
                }
                /// A ReferenceGrant: which objects of other namespaces may refer to objects of this one.
                ReferenceGrant {
                    kind: "ReferenceGrant", group: GATEWAY_API, versions: ["v1", "v1beta1"], key: ObjectName,
                    spec: api::referencegrants::ReferenceGrantSpec,
                    schema: "referencegrants.json",
                }
                /// A GatewayParameters: how the proxies of a class or of one Gateway are run.
                GatewayParameters {
                    kind: "GatewayParameters", group: FAIRWAY, versions: ["v1alpha1"], key: ObjectName,
                    spec: gateway_parameters::GatewayParametersSpec,
                }
                /// An XMesh: the object that the mesh reports on (GEP-3949).
                Mesh {
                    kind: "XMesh", group: GATEWAY_API_EXPERIMENTAL, versions: ["v1alpha1"], key: str,
                    spec: MeshSpec,
                }
            }
            policies {
                /// A BackendTLSPolicy: how Gateways speak TLS to the ports of a Service (GEP-1897).
                BackendTlsPolicy {
                    kind: "BackendTLSPolicy", group: GATEWAY_API, versions: ["v1", "v1alpha3"], key: ObjectName,
                    spec: api::backendtlspolicies::BackendTlsPolicySpec,
                    schema: "backendtlspolicies.json",
                }
                /// An AccessPolicy: who may do what.
                AccessPolicy {
                    kind: "AccessPolicy", group: FAIRWAY, versions: ["v1alpha1"], key: ObjectName,
                    spec: access_policy::Reading,
                }
                /// A ClientPolicy: how listeners treat the connections of clients.
                ClientPolicy {
                    kind: "ClientPolicy", group: FAIRWAY, versions: ["v1alpha1"], key: ObjectName,
                    spec: client_policy::Reading,
                }
                /// A RateLimitPolicy: how often requests may come.
                RateLimitPolicy {
                    kind: "RateLimitPolicy", group: FAIRWAY, versions: ["v1alpha1"], key: ObjectName,
                    spec: rate_limit_policy::Reading,
                }
                /// An AuthenticationPolicy: how clients say who they are.
                AuthenticationPolicy {
                    kind: "AuthenticationPolicy", group: FAIRWAY, versions: ["v1alpha1"], key: ObjectName,
                    spec: authentication_policy::Reading,
                }
            }
            unhandled {
                /// An XBackendTrafficPolicy: retry budgets and session persistence of a Service.
                BackendTrafficPolicy {
                    kind: "XBackendTrafficPolicy", group: GATEWAY_API_EXPERIMENTAL, versions: ["v1alpha1"],
                    key: ObjectName,
                }
                /// An XTelemetryPolicy: what the proxies of a Gateway report.
                TelemetryPolicy {
                    kind: "XTelemetryPolicy", group: GATEWAY_API_EXPERIMENTAL, versions: ["v1alpha1"], key: ObjectName,
                }
                /// An XBackend: a destination outside of the cluster.
                ExternalBackend {
                    kind: "XBackend", group: GATEWAY_API_EXPERIMENTAL, versions: ["v1alpha1"], key: ObjectName,
                }
            }
        }
    };
}

pub(crate) use for_each_kind;
