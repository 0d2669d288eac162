//! What is to be written on which pod, from what the tunnels say and what is written already. Pure.

use super::Reports;
use crate::events::Event;
use fairway_config::capture::{CaptureState, Fence, PodCapture};
use fairway_config::model::ObjectName;
use k8s_openapi::jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What a pod shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) reason: CaptureReason,
    pub(super) message: String,
}

/// Why a pod's condition is as it is: the reason of the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CaptureReason {
    Captured,
    /// The same, and what is open around the tunnel is not known.
    FenceDown,
    Capturing,
    /// It should be, and cannot.
    NotCaptured,
    HostNetwork,
    OptedOut,
    Proxy,
}

/// What is written on a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Mark {
        mark: Mark,
        since: Timestamp,
    },
    /// Something, by a leader before this one, that does not go together.
    Unclear,
}

/// A pod with what is written on it.
pub(super) type Pods = HashMap<Arc<str>, (ObjectName, Written), ahash::RandomState>;

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) uid: Arc<str>,
    pub(super) pod: ObjectName,
    /// None: it is not in the mesh any more.
    pub(super) mark: Option<Mark>,
    /// Since when it has been captured, or has not, where that was so before this change.
    pub(super) since: Option<Timestamp>,
}

/// What is to be written, and which pods are gone. `node_of` knows the pods there are.
pub(super) fn plan(
    reports: &Reports,
    written: &Pods,
    node_of: impl Fn(&str) -> Option<Arc<str>>,
) -> (Vec<Change>, Vec<Arc<str>>) {
    let (mut changes, mut named) = (Vec::new(), HashSet::new());
    for it in reports.values().flat_map(|pods| pods.iter()) {
        let Some((pod, mark)) = name(it).zip(mark(it)) else { continue };
        named.insert(it.uid.as_str());
        let written = written.get(it.uid.as_str()).map(|(_, written)| written);
        if !written.is_some_and(|it| it.says(&mark)) {
            let since = written.and_then(|it| it.since(&mark));
            changes.push(Change { uid: it.uid.as_str().into(), pod, mark: Some(mark), since });
        }
    }
    let mut gone = Vec::new();
    for (uid, (pod, _)) in written.iter().filter(|(uid, _)| !named.contains(&***uid)) {
        match node_of(uid) {
            None => gone.push(uid.clone()),
            // Its node has spoken, and not of it.
            Some(node) if reports.contains_key(&node) => {
                changes.push(Change { uid: uid.clone(), pod: pod.clone(), mark: None, since: None });
            }
            Some(_) => {}
        }
    }
    changes.sort_by(|a, b| a.pod.cmp(&b.pod));
    (changes, gone)
}

/// What is worth an Event.
pub(super) fn event(mark: &Mark) -> Option<Event> {
    let (good, what) = match mark.reason {
        CaptureReason::HostNetwork => (true, "the pod is not in the mesh of its namespace"),
        CaptureReason::NotCaptured => {
            (false, "the pod is in the mesh but not captured, so it can reach no other pod")
        }
        CaptureReason::FenceDown => (false, "the pod is captured, but its other traffic is not refused"),
        CaptureReason::Captured
        | CaptureReason::Capturing
        | CaptureReason::OptedOut
        | CaptureReason::Proxy => return None,
    };
    let note = format!("{what}: {}", mark.message);
    Some(Event { good, reason: mark.reason.word().to_owned(), note })
}

fn mark(it: &PodCapture) -> Option<Mark> {
    let said = |reason, otherwise: &str| {
        let message = if it.reason.is_empty() { otherwise } else { &it.reason };
        Some(Mark { reason, message: message.to_owned() })
    };
    let plain = |reason, message: &str| Some(Mark { reason, message: message.to_owned() });
    match it.state() {
        CaptureState::Captured => captured(it),
        CaptureState::Missing if it.reason.is_empty() => {
            plain(CaptureReason::Capturing, "ztunnel on its node is about to capture it")
        }
        CaptureState::Missing => said(CaptureReason::NotCaptured, "ztunnel on its node does not say why"),
        CaptureState::HostNetwork => said(CaptureReason::HostNetwork, "it has its node's network"),
        CaptureState::OptedOut => said(CaptureReason::OptedOut, "its label fairway.dev/mesh says so"),
        CaptureState::Proxy => said(CaptureReason::Proxy, "it is a proxy of Fairway"),
        CaptureState::Unspecified => None,
    }
}

/// What goes around the tunnel of a captured pod is said: the fence around it is up or not.
fn captured(it: &PodCapture) -> Option<Mark> {
    const THROUGH: &str = "its TCP connections go through ztunnel on its node";
    let (reason, message) = match (it.fence(), it.older_connections) {
        (Fence::Unspecified, _) => (CaptureReason::Captured, THROUGH.to_owned()),
        (Fence::Up, 0) => (CaptureReason::Captured, format!("{THROUGH}; all other traffic is refused")),
        (Fence::Up, older) => {
            let connections = if older == 1 { "connection" } else { "connections" };
            let but = format!("{older} {connections} that it had before it was captured, until they end");
            (CaptureReason::Captured, format!("{THROUGH}; all other traffic is refused, except for {but}"))
        }
        (Fence::Down, _) => (
            CaptureReason::FenceDown,
            "its new TCP connections go through ztunnel on its node; connections that it had before may go on without \
             it: restart the pod to end them"
                .to_owned(),
        ),
    };
    Some(Mark { reason, message })
}

fn name(it: &PodCapture) -> Option<ObjectName> {
    it.pod.split_once('/').map(|(namespace, name)| ObjectName::new(namespace, name))
}

// === impl Mark ===

impl Mark {
    pub(super) fn is_captured(&self) -> bool {
        matches!(self.reason, CaptureReason::Captured | CaptureReason::FenceDown)
    }
}

// === impl CaptureReason ===

impl CaptureReason {
    /// By the condition's reason.
    pub(super) fn parse(word: &str) -> Option<Self> {
        use CaptureReason::{Captured, Capturing, FenceDown, HostNetwork, NotCaptured, OptedOut, Proxy};
        let all = [Captured, FenceDown, Capturing, NotCaptured, HostNetwork, OptedOut, Proxy];
        all.into_iter().find(|it| it.word() == word)
    }

    /// For the condition's reason.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Captured => "Captured",
            Self::FenceDown => "FenceDown",
            Self::Capturing => "Capturing",
            Self::NotCaptured => "NotCaptured",
            Self::HostNetwork => "HostNetwork",
            Self::OptedOut => "OptedOut",
            Self::Proxy => "Proxy",
        }
    }
}

// === impl Written ===

impl Written {
    fn says(&self, mark: &Mark) -> bool {
        match self {
            Self::Mark { mark: written, .. } => written == mark,
            Self::Unclear => false,
        }
    }

    /// Since when it says what matters of this mark.
    fn since(&self, new: &Mark) -> Option<Timestamp> {
        match self {
            Self::Mark { mark, since } if mark.is_captured() == new.is_captured() => Some(*since),
            Self::Mark { .. } | Self::Unclear => None,
        }
    }
}

/// Every condition and Event that can be said of a pod, for the file of all messages.
#[cfg(test)]
pub(crate) fn every_message() -> std::collections::BTreeSet<String> {
    let mut messages = std::collections::BTreeSet::new();
    use CaptureState::{Captured, HostNetwork, Missing, OptedOut, Proxy};
    for state in [Captured, Missing, HostNetwork, OptedOut, Proxy] {
        for (fence, older_connections) in
            [(Fence::Unspecified, 0), (Fence::Up, 0), (Fence::Up, 1), (Fence::Up, 2), (Fence::Down, 0)]
        {
            // As tunnels say it: `describe_aside` of their report, and `PodError`.
            let said = match state {
                HostNetwork => "it has its node's network, and capturing that would cut the node off",
                OptedOut => "its label fairway.dev/mesh keeps it out of the mesh",
                Proxy => "it is a proxy of Fairway, which speaks mTLS itself",
                _ => "the capture rules cannot be loaded: Operation not permitted (os error 1)",
            };
            for reason in ["", said] {
                let pod = PodCapture {
                    state: state.into(),
                    fence: fence.into(),
                    older_connections,
                    reason: reason.to_owned(),
                    ..PodCapture::default()
                };
                let Some(mark) = mark(&pod) else { continue };
                let status = if mark.is_captured() { "True" } else { "False" };
                messages.insert(format!("Captured is {status} ({}): {}", mark.reason.word(), mark.message));
                messages.extend(event(&mark).map(|event| format!("Event {}: {}", event.reason, event.note)));
            }
        }
    }
    let repaired = super::writer::repaired();
    messages.insert(format!("Event {}: {}", repaired.reason, repaired.note));
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, state: CaptureState, reason: &str) -> PodCapture {
        PodCapture {
            uid: format!("uid-{name}"),
            pod: format!("shop/{name}"),
            state: state.into(),
            reason: reason.to_owned(),
            repairs: 0,
            fence: Fence::Unspecified.into(),
            older_connections: 0,
        }
    }

    fn written(pods: &[(&str, Written)]) -> Pods {
        let entry = |(name, it): &(&str, Written)| {
            (format!("uid-{name}").into(), (ObjectName::new("shop", *name), it.clone()))
        };
        pods.iter().map(entry).collect()
    }

    fn described((changes, gone): (Vec<Change>, Vec<Arc<str>>)) -> (Vec<String>, Vec<Arc<str>>) {
        let describe = |it: &Change| {
            let mark = it
                .mark
                .as_ref()
                .map_or("nothing".to_owned(), |it| format!("{} {}", it.is_captured(), it.reason.word()));
            format!("{}: {mark}", it.pod)
        };
        (changes.iter().map(describe).collect(), gone)
    }

    #[test]
    fn what_a_tunnel_says_is_written_once() {
        let pods = [
            report("a", CaptureState::Captured, ""),
            report("b", CaptureState::Missing, ""),
            report("c", CaptureState::Missing, "no nftables"),
            report("d", CaptureState::HostNetwork, "it has its node's network"),
            report("e", CaptureState::OptedOut, "its label"),
            report("f", CaptureState::Proxy, "it is a proxy"),
            report("g", CaptureState::Unspecified, ""),
        ];
        let reports: Reports = [(Arc::from("n1"), pods.into())].into_iter().collect();
        let node_of = |_: &str| Some(Arc::from("n1"));
        let (changes, _) = plan(&reports, &Pods::default(), node_of);
        assert_eq!(
            described((changes.clone(), vec![])).0,
            [
                "shop/a: true Captured",
                "shop/b: false Capturing",
                "shop/c: false NotCaptured",
                "shop/d: false HostNetwork",
                "shop/e: false OptedOut",
                "shop/f: false Proxy",
            ]
        );
        let events: Vec<_> = changes.iter().filter_map(|it| event(it.mark.as_ref()?)).collect();
        let events: Vec<_> = events.iter().map(|it| (it.good, it.reason.as_str())).collect();
        assert_eq!(events, [(false, "NotCaptured"), (true, "HostNetwork")]);
        let since = Timestamp::UNIX_EPOCH;
        let written = |it: Change| Some((it.uid, (it.pod, Written::Mark { mark: it.mark?, since })));
        let mut after: Pods = changes.into_iter().filter_map(written).collect();
        assert_eq!(plan(&reports, &after, node_of), (vec![], vec![]));
        // Another reason is no transition (KEP-1623); being captured is.
        let pods =
            [report("b", CaptureState::Missing, "no nftables"), report("c", CaptureState::Captured, "")];
        let reports: Reports = [(Arc::from("n1"), pods.into())].into_iter().collect();
        after.retain(|uid, _| ["uid-b", "uid-c"].contains(&&**uid));
        let (changes, _) = plan(&reports, &after, node_of);
        let changes: Vec<_> = changes.iter().map(|it| (&*it.pod.name, it.since)).collect();
        assert_eq!(changes, [("b", Some(since)), ("c", None)]);
    }

    #[test]
    fn the_condition_says_what_goes_around_the_tunnel() {
        let fenced = |fence: Fence, older_connections| {
            let report = report("a", CaptureState::Captured, "");
            let said = mark(&PodCapture { fence: fence.into(), older_connections, ..report }).unwrap();
            let event = event(&said).map(|it| it.reason);
            (said.is_captured(), said.reason.word(), said.message, event)
        };
        for (fence, older, word, part, event) in [
            (Fence::Unspecified, 0, "Captured", "its TCP connections go through", None),
            (Fence::Up, 0, "Captured", "all other traffic is refused", None),
            (Fence::Up, 1, "Captured", "except for 1 connection that it had before", None),
            (Fence::Up, 12, "Captured", "except for 12 connections that it had before", None),
            (Fence::Down, 0, "FenceDown", "restart the pod", Some("FenceDown")),
        ] {
            let (captured, said, message, told) = fenced(fence, older);
            assert!(captured && message.contains(part), "{message}");
            assert_eq!((said, told.as_deref()), (word, event));
        }
        // What has changed is written again, and how long it has been captured stays.
        let since = Timestamp::UNIX_EPOCH;
        let said = |fence: Fence, older_connections| {
            let report = report("a", CaptureState::Captured, "");
            PodCapture { fence: fence.into(), older_connections, ..report }
        };
        let before = mark(&said(Fence::Up, 3)).unwrap();
        let before = written(&[("a", Written::Mark { mark: before, since })]);
        for (now, changes) in [
            (said(Fence::Up, 3), 0),
            (said(Fence::Up, 2), 1),
            (said(Fence::Up, 0), 1),
            (said(Fence::Down, 0), 1),
        ] {
            let reports: Reports = [(Arc::from("n1"), vec![now].into())].into_iter().collect();
            let (planned, _) = plan(&reports, &before, |_| Some(Arc::from("n1")));
            assert_eq!(planned.len(), changes);
            assert!(planned.iter().all(|it| it.since == Some(since)));
        }
    }

    #[test]
    fn what_a_leader_before_has_written_stays_if_it_is_right() {
        let pods = [report("a", CaptureState::Captured, ""), report("b", CaptureState::Captured, "")];
        let reports: Reports = [(Arc::from("n1"), pods.into())].into_iter().collect();
        let captured = mark(&report("a", CaptureState::Captured, "")).unwrap();
        let captured = Written::Mark { mark: captured, since: Timestamp::UNIX_EPOCH };
        let before = written(&[
            ("a", captured.clone()),
            ("b", Written::Unclear),
            // Left the mesh while nobody led.
            ("left", captured.clone()),
            // Its node has not spoken yet.
            ("silent", captured.clone()),
            ("gone", captured),
        ]);
        let node_of = |uid: &str| match uid {
            "uid-gone" => None,
            "uid-silent" => Some(Arc::from("n2")),
            _ => Some(Arc::from("n1")),
        };
        assert_eq!(
            described(plan(&reports, &before, node_of)),
            (
                vec!["shop/b: true Captured".to_owned(), "shop/left: nothing".to_owned()],
                vec!["uid-gone".into()]
            )
        );
    }
}
