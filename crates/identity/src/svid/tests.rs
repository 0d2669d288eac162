use super::*;
use crate::testing::TestAuthority;
use rcgen::KeyPair;

#[test]
fn an_answer_that_is_not_what_was_asked_for_is_not_taken() {
    let mesh = TestAuthority::new("cluster.local");
    let impostor = TestAuthority::new("cluster.local");
    let now = SystemTime::now();
    let asked = mesh.id("shop", "web");
    let other = mesh.svid(&mesh.id("shop", "admin"), |_| ());
    let good = mesh.svid(&asked, |_| ());
    let expired = mesh.svid(&asked, |it| it.not_after = (now - Duration::from_secs(1)).into());
    let foreign_bundle = TrustBundle { trust_domain: "elsewhere.example".parse().unwrap(), ..mesh.bundle() };
    let key_of = |svid: &Svid| KeyPair::try_from(svid.key.secret_der()).unwrap();

    for (what, svid, key, bundle, why) in [
        (
            "another identity",
            &other,
            key_of(&other),
            mesh.bundle(),
            "was issued spiffe://cluster.local/ns/shop/sa/admin",
        ),
        ("another key", &good, KeyPair::generate().unwrap(), mesh.bundle(), "another key"),
        ("another trust domain", &good, key_of(&good), foreign_bundle, "elsewhere.example"),
        ("another root", &good, key_of(&good), impostor.bundle(), "does not verify"),
        ("expired", &expired, key_of(&expired), mesh.bundle(), "does not verify"),
    ] {
        let issued = Issued { chain: svid.chain.clone(), bundle };
        let error = Svid::accept(&asked, &key, &issued, now).unwrap_err().to_string();
        assert!(error.contains(why), "{what}: {error}");
    }

    let empty = Issued { chain: vec![], bundle: mesh.bundle() };
    assert!(matches!(Svid::accept(&asked, &key_of(&good), &empty, now), Err(SvidError::Empty)));

    let issued = Issued { chain: good.chain.clone(), bundle: mesh.bundle() };
    let taken = Svid::accept(&asked, &key_of(&good), &issued, now).unwrap();
    assert_eq!(taken.id, asked);
    let left = taken.not_after.duration_since(now).unwrap();
    assert!(left <= Duration::from_secs(3600) && left > Duration::from_secs(3590), "{left:?}");
}
