//! What provokes every message: manifests in `corpus/`, files that are not manifests, and clusters that were read.

use crate::check;
use crate::check::cluster::tests as clusters;
use crate::compile::{Capture, CompileSettings, Compiler, Loopback, Mode};
use crate::diagnostic::Diagnostic;
use crate::provision::Rights;
use crate::resources::{Edit, Kind, Object};
use crate::source::{CertificatePeriods, Completion, FileChange, LastGood, Scan, Standalone};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

/// What the corpus makes.
#[derive(Default)]
pub(super) struct Corpus {
    pub(super) diagnostics: Vec<Diagnostic>,
    /// `Type is Status (Reason): message`.
    pub(super) conditions: BTreeSet<String>,
    pub(super) other: BTreeSet<String>,
}

pub(super) fn run() -> Corpus {
    let mut corpus = Corpus::default();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnostic/corpus");
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<_> = entries.collect();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let how = text.lines().next().unwrap().trim_start_matches("# ");
        let name = path.file_name().unwrap().to_str().unwrap();
        match how {
            "files" => corpus.diagnostics.extend(scan(name, &text).0.problems()),
            "standalone" => compile(&mut corpus, standalone(), read(name, &text)),
            "cluster" => compile(&mut corpus, cluster(), read(name, &text)),
            "gateways only" => {
                compile(
                    &mut corpus,
                    CompileSettings { capture: Capture::Off, ..cluster() },
                    read(name, &text),
                );
            }
            "unchecked" => compile(&mut corpus, cluster(), unchecked(&text)),
            other => panic!("{name} is of an unknown sort: {other}"),
        }
    }
    expressions(&mut corpus);
    certificates(&mut corpus);
    endpoints(&mut corpus);
    authorities(&mut corpus);
    files_that_are_no_manifests(&mut corpus);
    unreadable_gateways(&mut corpus);
    policies_without_room(&mut corpus);
    services_without_endpoints(&mut corpus);
    for snapshot in clusters::everything_wrong() {
        let report = check::cluster::check_snapshot(&snapshot);
        corpus.diagnostics.extend(report.categories.into_iter().flat_map(|category| category.diagnostics));
    }
    corpus.other.extend(crate::capture::every_message());
    corpus.other.extend(crate::status::delivery::every_message());
    corpus
}

fn cluster() -> CompileSettings {
    CompileSettings {
        capture: Capture::On,
        mode: Mode::Kubernetes,
        loopback: Loopback::Refused,
        rights: Rights::default(),
        ..CompileSettings::standalone("cluster.local".parse().unwrap())
    }
}

fn standalone() -> CompileSettings {
    CompileSettings { capture: Capture::On, ..CompileSettings::standalone("cluster.local".parse().unwrap()) }
}

fn scan(name: &str, text: &str) -> (Scan, Vec<Edit>) {
    let mut scan = Scan::default();
    let edits = scan.apply([(name.into(), FileChange::Text(text.to_owned()))]);
    (scan, edits)
}

/// Objects that their schemas allow.
fn read(name: &str, text: &str) -> Vec<Edit> {
    let (scan, edits) = scan(name, text);
    let problems: Vec<String> = scan.problems().iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    edits
}

/// Objects that no schema has checked.
fn unchecked(text: &str) -> Vec<Edit> {
    let documents =
        text.split("\n---\n").map(|text| serde_saphyr::from_str::<serde_json::Value>(text).unwrap());
    let object = |manifest: serde_json::Value| {
        let (group, _) = manifest["apiVersion"].as_str().unwrap().rsplit_once('/').unwrap_or_default();
        let kind = Kind::named(group, manifest["kind"].as_str().unwrap()).unwrap();
        Edit::Upsert(Object::parse(kind, manifest).unwrap())
    };
    documents.map(object).collect()
}

fn compile(corpus: &mut Corpus, settings: CompileSettings, edits: Vec<Edit>) {
    let mut standalone =
        (settings.mode == Mode::Standalone).then(|| Standalone::new(Completion::for_settings(&settings)));
    let mut edits = match &mut standalone {
        Some(standalone) => standalone.complete(edits),
        None => edits,
    };
    LastGood::default().carry(&mut edits);
    CertificatePeriods::default().carry(&mut edits, SystemTime::now());
    let mut compiler = Compiler::new(settings);
    compiler.apply(edits);
    corpus.diagnostics.extend(compiler.problems().cloned());
    for (_, status) in compiler.statuses() {
        for (_, condition) in status.conditions() {
            let (kind, status, reason) = (condition.kind, condition.status, condition.reason);
            corpus.conditions.insert(format!("{kind} is {status} ({reason}): {}", condition.message));
        }
    }
}

/// Regular expressions that are too large: for a route, and for a namespace.
fn expressions(corpus: &mut Corpus) {
    let route = |name: &str, count: usize| {
        let matches: Vec<String> = (0..count)
            .map(|index| {
                format!(r"{{ path: {{ type: RegularExpression, value: '/[\pL\pN]{{5}}{name}x{index}' }} }}")
            })
            .collect();
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec: {{ parentRefs: [{{ name: g }}], rules: [{{ matches: [{}] }}] }}\n---\n",
            matches.join(", ")
        )
    };
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: g, namespace: shop }\n\
                   spec: { gatewayClassName: fairway, listeners: [{ name: http, port: 80, protocol: HTTP }] }\n---\n";
    let routes: String = (0..8).map(|index| route(&format!("expressions-{index}"), 64)).collect();
    compile(corpus, standalone(), read("expressions.yaml", &format!("{gateway}{routes}")));
    // As many matches as two rules may have, and one more.
    let matches = vec!["{ path: { value: /a } }"; 64].join(", ");
    let many = format!("rules: [{{ matches: [{matches}] }}, {{ matches: [{matches}] }}, {{}}]");
    let route = route("many-matches", 0).replace("rules: [{ matches: [] }]", &many);
    corpus.diagnostics.extend(scan("many-matches.yaml", &route).0.problems());
}

/// A Service with too many endpoints: each of the addresses on each of the ports.
fn endpoints(corpus: &mut Corpus) {
    let ports: String = (1..=500).map(|port| format!("{{ name: p{port}, port: {port} }}, ")).collect();
    let addresses: String = (1..=201).map(|it| format!("{{ addresses: [203.0.113.{it}] }}, ")).collect();
    let wide = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: wide, namespace: shop }}\nspec: {{ ports: [{ports}] }}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{ name: wide, namespace: shop, labels: {{ kubernetes.io/service-name: wide }} }}\n\
         addressType: IPv4\nports: [{ports}]\nendpoints: [{addresses}]\n"
    );
    compile(corpus, cluster(), read("wide.yaml", &wide));
    guards(corpus);
}

/// More Services that require their waypoint than may select one pod.
fn guards(corpus: &mut Corpus) {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: many-guards, namespace: shop, labels: { app: many } }\n\
               spec: { serviceAccountName: many, nodeName: node-1, containers: [{ name: app, image: app }] }\n\
               status: { phase: Running, podIPs: [{ ip: 10.0.9.9 }] }\n";
    let namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata: { name: shop, labels: { fairway.dev/mesh: enabled } }\n";
    let service = |it: usize| {
        format!(
            "---\napiVersion: v1\nkind: Service\n\
             metadata: {{ name: many-{it}, namespace: shop, labels: {{ fairway.dev/waypoint: required }} }}\n\
             spec: {{ selector: {{ app: many }}, ports: [{{ name: http, port: 80 }}] }}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{ name: many-{it}, namespace: shop, labels: {{ kubernetes.io/service-name: many-{it} }} }}\n\
             addressType: IPv4\nports: [{{ name: http, port: 80 }}]\nendpoints: [{{ addresses: [10.0.9.9] }}]\n"
        )
    };
    let services: String = (0..=32).map(service).collect();
    compile(corpus, cluster(), read("guards.yaml", &format!("{pod}{namespace}{services}")));
}

/// More certificates of authorities than a Gateway may trust.
fn authorities(corpus: &mut Corpus) {
    let made = rcgen::generate_simple_self_signed(["authority".to_owned()]).unwrap().cert.pem();
    let half = serde_json::Value::String(made.repeat(128 * 1024 / made.len() + 1));
    let refs = "[{ group: '', kind: ConfigMap, name: many }, { group: '', kind: ConfigMap, name: many }]";
    let gateway = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: many-authorities, namespace: shop }}\n\
         spec:\n  gatewayClassName: fairway\n  listeners: [{{ name: http, port: 80, protocol: HTTP }}]\n\
         \x20 tls: {{ frontend: {{ default: {{ validation: {{ caCertificateRefs: {refs} }} }} }} }}\n\
         ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: many, namespace: shop }}\ndata: {{ ca.crt: {half} }}\n"
    );
    compile(corpus, standalone(), read("authorities.yaml", &gateway));
    old_authorities(corpus);
}

/// Authorities that have expired, and some that are not yet valid.
fn old_authorities(corpus: &mut Corpus) {
    let authority = |(from, to): (i32, i32)| {
        let mut params = CertificateParams::new(vec!["authority".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    };
    let policy = |name: &str, years: &[(i32, i32)]| {
        let pem = serde_json::Value::String(years.iter().copied().map(authority).collect());
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, namespace: shop }}\ndata: {{ ca.crt: {pem} }}\n\
             ---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {{ ports: [{{ port: 80 }}] }}\n\
             ---\napiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec: {{ targetRefs: [{{ group: '', kind: Service, name: {name} }}], \
             validation: {{ hostname: shop.example, caCertificateRefs: [{{ group: '', kind: ConfigMap, name: {name} }}] }} }}\n"
        )
    };
    let (good, old, early) = ((2020, 2999), (2020, 2021), (2998, 2999));
    let policies = [
        policy("old-authority", &[old]),
        policy("early-authority", &[early]),
        policy("some-old-authorities", &[old, good, old]),
        policy("some-early-authorities", &[early, good, early]),
    ];
    compile(corpus, standalone(), read("old-authorities.yaml", &policies.concat()));
}

/// Certificates that clients refuse: out of their time, and for other names.
fn certificates(corpus: &mut Corpus) {
    let secret = |name: &str, from: i32, to: i32| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let made = params.self_signed(&key).unwrap();
        let [certificate, key] = [made.pem(), key.serialize_pem()].map(serde_json::Value::String);
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: {name}, namespace: shop }}\ntype: kubernetes.io/tls\n\
             stringData: {{ tls.crt: {certificate}, tls.key: {key} }}\n"
        )
    };
    let listener = |name: &str, port: u16, hostname: &str| {
        let tls = format!("{{ certificateRefs: [{{ name: {name} }}] }}");
        format!("{{ name: {name}, port: {port}, protocol: HTTPS, hostname: {hostname}, tls: {tls} }}")
    };
    let listeners = [
        listener("expired", 443, "shop.example"),
        listener("early", 444, "shop.example"),
        listener("other-name", 445, "bank.example"),
    ];
    let gateway = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: certificates, namespace: shop }}\n\
         spec: {{ gatewayClassName: fairway, listeners: [{}] }}\n",
        listeners.join(", ")
    );
    let secrets =
        [secret("expired", 2020, 2021), secret("early", 2998, 2999), secret("other-name", 2020, 2999)];
    compile(corpus, standalone(), read("certificates.yaml", &format!("{gateway}{}", secrets.concat())));
}

/// Services that a route sends to: without slices, with ports of other names, and with nothing behind them.
fn services_without_endpoints(corpus: &mut Corpus) {
    let service = |name: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {{ ports: [{{ name: http, port: 80 }}] }}\n"
        )
    };
    let slice = |labels: &str, port: &str, endpoints: &str| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{ name: {port}, namespace: shop, labels: {{ {labels} }} }}\n\
             addressType: IPv4\nports: [{{ name: {port}, port: 8080 }}]\nendpoints: [{endpoints}]\n"
        )
    };
    let address = "{ addresses: [203.0.113.1] }";
    let backends = "{ name: unlabelled, port: 80 }, { name: misnamed, port: 80 }, { name: nobody, port: 80 }";
    let text = [
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: g, namespace: shop }\n\
         spec: { gatewayClassName: fairway, listeners: [{ name: http, port: 80, protocol: HTTP }] }\n"
            .to_owned(),
        format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: r, namespace: shop }}\n\
             spec: {{ parentRefs: [{{ name: g }}], rules: [{{ backendRefs: [{backends}] }}] }}\n"
        ),
        ["unlabelled", "misnamed", "nobody"].map(service).concat(),
        slice("", "unlabelled", address),
        slice("kubernetes.io/service-name: misnamed", "web", address),
        slice("kubernetes.io/service-name: nobody", "http", ""),
        "---\napiVersion: v1\nkind: Endpoints\nmetadata: { name: unlabelled, namespace: shop }\n".to_owned(),
    ];
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("without-endpoints.yaml"), text.concat()).unwrap();
    let report = check::check(directory.path(), standalone()).unwrap();
    corpus.diagnostics.extend(report.diagnostics.into_iter().map(|mut diagnostic| {
        diagnostic.location = None;
        diagnostic
    }));
}

/// A Gateway, a class and parameters with fields of a newer version.
fn unreadable_gateways(corpus: &mut Corpus) {
    let gateway = |name: &str, class: &str, spec: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec: {{ gatewayClassName: {class}, listeners: [{{ name: http, port: 80, protocol: HTTP }}]{spec} }}\n---\n"
        )
    };
    let parameters =
        ", infrastructure: { parametersRef: { group: fairway.dev, kind: GatewayParameters, name: newer } }";
    let text = [
        gateway("newer", "fairway", ", newer: 1"),
        gateway("of-newer-class", "newer", ""),
        gateway("of-newer-parameters", "fairway", parameters),
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: { name: fairway }\n\
         spec: { controllerName: fairway.dev/controller }\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: { name: newer }\n\
         spec: { controllerName: fairway.dev/controller, newer: 1 }\n---\n\
         apiVersion: fairway.dev/v1alpha1\nkind: GatewayParameters\nmetadata: { name: newer, namespace: shop }\n\
         spec: { replicas: many }\n"
            .to_owned(),
    ];
    compile(corpus, cluster(), scan("newer.yaml", &text.concat()).1);
}

/// Policies of one Gateway that compare too much together, one of them only observing; and a policy with too many ancestors.
fn policies_without_room(corpus: &mut Corpus) {
    let gateway = |name: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec: {{ gatewayClassName: fairway, listeners: [{{ name: http, port: 80, protocol: HTTP }}] }}\n---\n"
        )
    };
    let paths = "{ value: /a }, ".repeat(1000);
    let access = |name: &str, mode: &str| {
        format!(
            "apiVersion: fairway.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec: {{ targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: crowded }}], action: Deny{mode}, \
             rules: [{{ to: [{{ paths: [{paths}] }}] }}] }}\n---\n"
        )
    };
    let gateways: String = (0..17).map(|it| gateway(&format!("ancestor-{it}"))).collect();
    let parents: String = (0..17).map(|it| format!("{{ name: ancestor-{it} }}, ")).collect();
    let class = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: { name: fairway }\n\
                 spec: { controllerName: fairway.dev/controller }\n---\n";
    let text = [
        class.to_owned(),
        gateway("crowded"),
        (0..5).map(|it| access(&format!("crowding-{it}"), "")).collect(),
        access("crowding-observer", ", mode: Observe"),
        access("too-many-values", "").replace(&paths, &"{ value: /a }, ".repeat(1025)),
        gateways,
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: many-parents, namespace: shop }}\n\
             spec: {{ parentRefs: [{parents}], rules: [{{ backendRefs: [{{ name: many-ancestors, port: 80 }}] }}] }}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{ name: many-ancestors, namespace: shop }}\nspec: {{ ports: [{{ port: 80 }}] }}\n---\n\
             apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{ name: many-ancestors, namespace: shop }}\n\
             spec: {{ targetRefs: [{{ group: '', kind: Service, name: many-ancestors }}], \
             validation: {{ hostname: shop.example, wellKnownCACertificates: System }} }}\n"
        ),
    ];
    compile(corpus, cluster(), read("without-room.yaml", &text.concat()));
}

fn files_that_are_no_manifests(corpus: &mut Corpus) {
    let object = |name: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name} }}\n");
    let mut scan = Scan::default();
    let text = |text: &str| FileChange::Text(text.to_owned());
    scan.apply([
        ("unreadable.yaml".into(), text(&object("a"))),
        ("empty.yaml".into(), text(&object("b"))),
        ("first.yaml".into(), text(&object("c"))),
        ("second.yaml".into(), text(&object("c"))),
        ("no-yaml.yaml".into(), text("kind: [\n")),
    ]);
    scan.apply([
        ("unreadable.yaml".into(), FileChange::Unreadable("permission denied".to_owned())),
        ("empty.yaml".into(), text("")),
    ]);
    corpus.diagnostics.extend(scan.problems());
    let empty = tempfile::tempdir().unwrap();
    let report = check::check(empty.path(), standalone()).unwrap();
    let nameless = report.diagnostics.into_iter().map(|mut diagnostic| {
        diagnostic.location = None;
        diagnostic
    });
    corpus.diagnostics.extend(nameless);
    corpus.diagnostics.push(crate::source::unlisted_directory("permission denied"));
}
