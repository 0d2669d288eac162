//! Where a pod is, if its processes may have another uid than its object: a static pod. The kubelet names the groups of its processes by the
//! hash of its manifest, and says that hash in an annotation of the pod's object.
//!
//! Anybody who may make pods can write such an annotation, with the hash of somebody else's pod. So a pod is looked for under it only if it
//! has no process under its own uid, and what is found has to have one of the pod's addresses: these are written by the kubelet, from what the
//! network gave to that pod and to no other.

use super::LocalPod;
use super::processes::Found;
use fairway_netns::Namespace;
use std::net::{IpAddr, UdpSocket};

/// The network namespace of a pod, if it was found.
pub(super) async fn namespace<'a>(pod: &LocalPod, found: &'a Found) -> Option<&'a Namespace> {
    if let Some(it) = found.namespaces.get(&pod.uid) {
        return Some(it);
    }
    let candidate = under_node_uid(pod, found)?;
    let addresses = pod.addresses.clone();
    match candidate.run(move || has_one(&addresses)).await {
        Ok(true) => Some(candidate),
        Ok(false) => {
            tracing::warn!(
                pod = %pod.key,
                "the pod says that it is a static pod of this node, and the processes of that have none of its addresses; it is not captured"
            );
            None
        }
        Err(error) => {
            tracing::warn!(pod = %pod.key, %error, "the network namespace of a pod cannot be entered");
            None
        }
    }
}

/// What was found under the uid that a static pod has on its node.
fn under_node_uid<'a>(pod: &LocalPod, found: &'a Found) -> Option<&'a Namespace> {
    let node_uid = pod.node_uid.as_ref().filter(|_| !found.alive.contains(&pod.uid))?;
    found.namespaces.get(node_uid)
}

/// Whether one of these addresses is one of the network namespace that this runs in: no socket can be bound to any other.
fn has_one(addresses: &[IpAddr]) -> bool {
    addresses.iter().any(|it| !it.is_unspecified() && !it.is_loopback() && UdpSocket::bind((*it, 0)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const HASH: &str = "8a5edab282632443219e051e4ade2d1d";

    fn pod(node_uid: Option<&str>, addresses: &[&str]) -> LocalPod {
        LocalPod {
            uid: "own".into(),
            key: "shop/web".into(),
            node_uid: node_uid.map(Into::into),
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        }
    }

    /// Processes under these uids.
    fn found(uids: &[&str]) -> Found {
        let namespace = |it: &&str| (Arc::from(*it), Namespace::current().unwrap());
        Found {
            alive: uids.iter().map(|it| Arc::from(*it)).collect(),
            namespaces: uids.iter().map(namespace).collect(),
        }
    }

    #[test]
    fn a_pod_is_looked_for_under_another_uid_only_if_it_has_no_process_of_its_own() {
        let is_found = |pod: &LocalPod, uids: &[&str]| under_node_uid(pod, &found(uids)).is_some();
        assert!(is_found(&pod(Some(HASH), &[]), &[HASH]));
        assert!(!is_found(&pod(Some(HASH), &[]), &[HASH, "own"]), "it is somebody else's hash");
        assert!(!is_found(&pod(Some(HASH), &[]), &["other"]));
        assert!(!is_found(&pod(None, &[]), &[HASH]));
    }

    #[tokio::test]
    async fn what_is_found_under_another_uid_has_to_have_the_pods_address() {
        // Nobody has these: they are for documentation (RFC 5737, RFC 3849), or for any pod alike.
        for others in [&["192.0.2.7"][..], &["2001:db8::7"], &["127.0.0.1"], &["0.0.0.0"], &["::"], &[]] {
            assert!(!has_one(&pod(Some(HASH), others).addresses), "{others:?}");
            assert!(namespace(&pod(Some(HASH), others), &found(&[HASH])).await.is_none(), "{others:?}");
        }
        // The address by which this machine would leave, where it has one.
        let leaving = UdpSocket::bind("0.0.0.0:0").unwrap();
        if leaving.connect("192.0.2.1:9").is_ok() {
            let own = leaving.local_addr().unwrap().ip().to_string();
            assert!(has_one(&pod(Some(HASH), &["192.0.2.7", &own]).addresses), "{own}");
        }
        // Under its own uid it is found whatever its addresses are.
        assert!(namespace(&pod(None, &[]), &found(&["own"])).await.is_some());
        assert!(namespace(&pod(Some(HASH), &["192.0.2.7"]), &found(&["own", HASH])).await.is_some());
    }
}
