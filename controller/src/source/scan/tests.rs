use super::{FileChange, Scan};
use crate::resources::{Edit, Object};

const A: &str = "apiVersion: v1\nkind: Namespace\nmetadata: { name: a }\n";
const B: &str = "apiVersion: v1\nkind: Namespace\nmetadata: { name: b }\n";

fn says(file: &str, text: impl Into<String>) -> (std::path::PathBuf, FileChange) {
    (file.into(), FileChange::Text(text.into()))
}

fn gone(file: &str) -> (std::path::PathBuf, FileChange) {
    (file.into(), FileChange::Gone)
}

/// `+a` for an object that is new or changed, `-a` for one that is gone.
fn names(edits: Vec<Edit>) -> Vec<String> {
    let name = |it: &Edit| match it {
        Edit::Upsert(it) => format!("+{}", it.meta().name),
        Edit::Remove(it) => format!("-{}", it.name),
    };
    edits.iter().map(name).collect()
}

#[test]
fn only_differences_come_out() {
    let mut scan = Scan::default();
    assert_eq!(names(scan.apply([says("f", format!("{A}---\n{B}"))])), ["+a", "+b"]);
    assert!(scan.apply([says("f", format!("# again\n{A}---\n{B}"))]).is_empty());
    let changed = B.replace("name: b", "name: b, labels: { x: y1 }");
    assert_eq!(names(scan.apply([says("f", format!("{A}---\n{changed}"))])), ["+b"]);
    assert_eq!(names(scan.apply([says("f", A)])), ["-b"]);
    assert_eq!(names(scan.apply([gone("f")])), ["-a"]);
}

#[test]
fn a_renamed_file_changes_nothing() {
    let mut scan = Scan::default();
    scan.apply([says("f", A)]);
    assert!(scan.apply([gone("f"), says("g", A)]).is_empty());
    assert!(scan.apply([says("f", A), gone("g")]).is_empty(), "whatever the order");
}

#[test]
fn a_file_that_does_not_parse_keeps_what_it_said() {
    let mut scan = Scan::default();
    scan.apply([says("f", format!("{A}---\n{B}"))]);
    for (half, line) in [(format!("{A}---\napiVersion: v1\nkind: [Name"), 6), (String::new(), 0)] {
        assert!(scan.apply([says("f", half)]).is_empty());
        let [problem] = &scan.problems()[..] else { panic!("{:?}", scan.problems()) };
        assert_eq!(problem.location.as_ref().unwrap().line, line, "{problem}");
        assert!(problem.message.contains("stay in force"), "{problem}");
    }
    assert_eq!(names(scan.apply([says("f", A)])), ["-b"]);
    assert!(scan.problems().is_empty());
}

#[test]
fn an_object_that_is_not_in_order_keeps_its_last_good_form_and_the_others_change() {
    let gateway = |port: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: g }}\nspec: {{ gatewayClassName: c, listeners: [{{ name: l, port: {port}, protocol: HTTP }}] }}\n---\n"
        )
    };
    let mut scan = Scan::default();
    assert_eq!(names(scan.apply([says("f", gateway("80") + A)])), ["+a", "+g"]);
    assert_eq!(names(scan.apply([says("f", gateway("0") + B)])), ["-a", "+b"]);
    let [problem] = &scan.problems()[..] else { panic!("{:?}", scan.problems()) };
    assert_eq!(
        problem.to_string(),
        "f:1 Gateway default/g spec.listeners[0].port: 0 is out of range (use a number from 1 to 65535)"
    );
    assert_eq!(names(scan.apply([says("f", gateway("81") + B)])), ["+g"]);
}

#[test]
fn a_manifest_nobody_can_name_takes_no_object_away() {
    let mut scan = Scan::default();
    scan.apply([says("f", format!("{A}---\n{B}"))]);
    assert!(scan.apply([says("f", format!("{A}---\n{}", B.replace("name: b", "nam: b")))]).is_empty());
    assert_eq!(scan.problems().len(), 1);
}

#[test]
fn of_two_files_with_one_object_the_first_stays() {
    let mut scan = Scan::default();
    let other = A.replace("name: a", "name: a, labels: { x: other }");
    scan.apply([says("m", A)]);
    assert!(scan.apply([says("b", other.clone())]).is_empty(), "also if the other's name comes first");
    let [problem] = &scan.problems()[..] else { panic!("{:?}", scan.problems()) };
    assert_eq!(problem.location.as_ref().unwrap().to_string(), "b:1");
    assert!(problem.message.contains("is in m too"), "{problem}");
    assert_eq!(names(scan.apply([gone("m")])), ["+a"], "then the other takes its place");
    assert!(scan.problems().is_empty());
    assert_eq!(scan.origin(&crate::source::objects(A)[0].reference()).unwrap().0.to_str(), Some("b"));
}

#[test]
fn an_object_twice_in_one_file_is_said_to_be_so() {
    let mut scan = Scan::default();
    assert_eq!(names(scan.apply([says("f", format!("{A}---\n{A}"))])), ["+a"]);
    assert!(scan.problems()[0].message.contains("is in line 1 too"), "{:?}", scan.problems());
}

#[test]
fn a_file_that_cannot_be_read_keeps_what_it_said() {
    let mut scan = Scan::default();
    scan.apply([says("f", A)]);
    assert!(scan.apply([("f".into(), FileChange::Unreadable("no".to_owned()))]).is_empty());
    assert!(scan.problems()[0].message.contains("cannot be read: no"));
}

#[test]
fn kinds_that_do_not_concern_us_are_noted() {
    let mut scan = Scan::default();
    assert!(
        scan.apply([says("f", "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: d }\n")]).is_empty()
    );
    assert_eq!(scan.problems()[0].severity, crate::diagnostic::Severity::Note);
}

#[test]
fn a_backend_tls_policy_that_cannot_be_read_keeps_its_targets_and_can_never_be_met() {
    let policy = |api: &str, name: &str, validation: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/{api}\nkind: BackendTLSPolicy\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec:\n  targetRefs: [{{ group: '', kind: Service, name: web, sectionName: x }}]\n  validation: {validation}\n"
        )
    };
    let good = "{ hostname: a.example.com, wellKnownCACertificates: System }";
    for (api, validation) in [
        ("v1", "{ hostname: a.example.com, wellKnownCACertificates: System, typo: 1 }"),
        ("v1", "{ wellKnownCACertificates: System }"),
        ("v1", "7"),
        ("v1alpha1", good),
    ] {
        let mut scan = Scan::default();
        let edits = scan.apply([("a.yaml".into(), FileChange::Text(policy(api, "p", validation)))]);
        let [Edit::Upsert(Object::BackendTlsPolicy(it))] = &edits[..] else {
            panic!("{validation}: {edits:?}")
        };
        assert_eq!((&*it.spec.target_refs[0].name, &it.spec.target_refs[0].section_name), ("web", &None));
        assert!(it.spec.validation.hostname.is_empty() && it.spec.validation.ca_certificate_refs.is_none());
        assert!(it.meta.unreadable.is_some());
        assert!(!scan.problems().is_empty());
        // Once it is in order it is what it says, and stays so through a later mistake.
        scan.apply([("a.yaml".into(), FileChange::Text(policy("v1alpha3", "p", good)))]);
        assert_eq!(scan.problems(), vec![]);
        assert!(scan.apply([("a.yaml".into(), FileChange::Text(policy(api, "p", validation)))]).is_empty());
    }
}

#[test]
fn a_client_policy_of_an_unknown_version_closes_its_targets_and_says_why() {
    let policy = "apiVersion: fairway.dev/v2\nkind: ClientPolicy\nmetadata: { name: p, namespace: edge }\n\
                  spec: { targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: g }], clientAddress: { source: Connection } }\n";
    let mut scan = Scan::default();
    let edits = scan.apply([("a.yaml".into(), FileChange::Text(policy.to_owned()))]);
    let [Edit::Upsert(Object::ClientPolicy(it))] = &edits[..] else { panic!("{edits:?}") };
    assert_eq!(it.spec.targets[0].name, "g");
    // It closes them for what nobody knows of it, and takes no field from another policy.
    assert_eq!(it.spec.client_address, Ok(None));
    assert!(it.meta.unreadable.as_ref().is_some_and(|why| why.contains("v2")), "{it:?}");
}

#[test]
fn an_access_policy_of_an_unknown_version_closes_its_targets_and_says_why() {
    let policy = |version: &str| {
        format!(
            "apiVersion: fairway.dev/{version}\nkind: AccessPolicy\nmetadata: {{ name: p, namespace: shop }}\n\
             spec: {{ targetRefs: [{{ group: '', kind: Service, name: web }}], action: Allow, rules: [{{}}] }}\n"
        )
    };
    let mut scan = Scan::default();
    let edits = scan.apply([("a.yaml".into(), FileChange::Text(policy("v2")))]);
    let [Edit::Upsert(Object::AccessPolicy(it))] = &edits[..] else { panic!("{edits:?}") };
    assert_eq!(it.spec.targets[0].name.as_deref(), Some("web"));
    assert!(it.spec.spec.is_err(), "an Allow of a version that is not known allows nothing: {it:?}");
    assert!(it.meta.unreadable.as_ref().is_some_and(|why| why.contains("v2")), "{it:?}");
    scan.apply([("a.yaml".into(), FileChange::Text(policy("v1alpha1")))]);
    assert_eq!(scan.problems(), vec![]);
}

#[test]
fn a_rate_limit_policy_of_an_unknown_version_closes_its_targets_and_says_why() {
    let policy = |version: &str| {
        format!(
            "apiVersion: fairway.dev/{version}\nkind: RateLimitPolicy\nmetadata: {{ name: p, namespace: shop }}\n\
             spec: {{ targetRefs: [{{ group: '', kind: Service, name: web }}], local: [{{ requests: 1, per: Second }}] }}\n"
        )
    };
    let mut scan = Scan::default();
    let edits = scan.apply([("a.yaml".into(), FileChange::Text(policy("v2")))]);
    let [Edit::Upsert(Object::RateLimitPolicy(it))] = &edits[..] else { panic!("{edits:?}") };
    assert_eq!(it.spec.targets[0].name, "web");
    assert!(it.spec.spec.is_err(), "limits of a version that is not known let nothing pass: {it:?}");
    assert!(it.meta.unreadable.as_ref().is_some_and(|why| why.contains("v2")), "{it:?}");
    scan.apply([("a.yaml".into(), FileChange::Text(policy("v1alpha1")))]);
    assert_eq!(scan.problems(), vec![]);
}

#[test]
fn an_authentication_policy_of_an_unknown_version_closes_its_targets_and_says_why() {
    let policy = |version: &str| {
        format!(
            "apiVersion: fairway.dev/{version}\nkind: AuthenticationPolicy\nmetadata: {{ name: p, namespace: shop }}\n\
             spec: {{ targetRefs: [{{ group: '', kind: Service, name: web }}], apiKey: {{ credentialRefs: [{{ name: k }}] }} }}\n"
        )
    };
    let mut scan = Scan::default();
    let edits = scan.apply([("a.yaml".into(), FileChange::Text(policy("v2")))]);
    let [Edit::Upsert(Object::AuthenticationPolicy(it))] = &edits[..] else { panic!("{edits:?}") };
    assert_eq!(it.spec.targets[0].name, "web");
    let asks = it.spec.spec.as_ref().is_ok_and(|it| it.api_key.is_some() || it.jwt.is_some());
    assert!(!asks, "what is not read asks for nothing that a client could have: {it:?}");
    assert!(it.meta.unreadable.as_ref().is_some_and(|why| why.contains("v2")), "{it:?}");
    scan.apply([("a.yaml".into(), FileChange::Text(policy("v1alpha1")))]);
    assert_eq!(scan.problems(), vec![]);
}
