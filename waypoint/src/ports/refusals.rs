//! The reasons for which a proxy refuses a listener, and that it takes the same one closed. It keeps what is for that listener from a
//! wider one then.

use super::{Entrance, Ports, Way, tls::TlsBase};
use crate::fixtures::listener;
use crate::table::Tables;
use crate::upstream::cluster::Registry;
use fairway_config::model::{
    AddressSource, Listener, ListenerProtocol, Resource, TlsTermination, TlsVersion,
};
use fairway_config::{Delta, Rejected, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A proxy without sockets: what is decided at commit.
struct Scene {
    snapshot: Snapshot,
    tables: Tables,
    ports: Ports,
}

impl Scene {
    fn new(first: &Listener) -> Self {
        let mut scene =
            Self { snapshot: Snapshot::default(), tables: Tables::default(), ports: Ports::default() };
        scene.commit(first).unwrap();
        scene
    }

    fn commit(&mut self, listener: &Listener) -> Result<(), Vec<Rejected>> {
        let upserts = vec![Resource::Listener(Arc::new(listener.clone()))];
        let (snapshot, changes) = self.snapshot.apply(Delta { upserts, ..Delta::default() });
        let tables = self.tables.next(&snapshot, &changes, &mut Registry::default())?;
        let sockets = tables.sockets().enumerate().map(|(id, it)| (it.socket(), super::PortId(id)));
        let bound: BTreeMap<_, _> = sockets.collect();
        let ports = Ports::new(&bound, &tables, &snapshot, &TlsBase::new().unwrap())?;
        (self.snapshot, self.tables, self.ports) = (snapshot, tables, ports);
        Ok(())
    }

    /// The listener that takes a host, and whether it is closed.
    fn taker(&self, host: &str) -> (String, bool) {
        let set = self.tables.sockets().next().unwrap();
        let taker = set.for_host(host).unwrap();
        (taker.listener.key.to_string(), taker.listener.closed.is_some())
    }
}

fn on(key: &str, host: Option<&str>, protocol: ListenerProtocol) -> Listener {
    Listener { protocol, ..listener(key, host) }
}

fn tls(certificates: &[&str]) -> ListenerProtocol {
    let certificates = certificates.iter().map(|it| (*it).into()).collect();
    ListenerProtocol::Https(TlsTermination {
        certificates,
        clients: None,
        min_version: TlsVersion::V1_2,
        algorithms: Default::default(),
    })
}

fn proxied(listener: Listener) -> Listener {
    let trusted = ["10.0.0.0/8".parse().unwrap()].into_iter().collect();
    Listener { address_source: AddressSource::ProxyProtocol(trusted), ..listener }
}

#[test]
fn a_listener_that_is_refused_is_taken_where_it_is_closed_if_a_wider_one_would_take_what_is_for_it() {
    const HOST: Option<&str> = Some("b.ex");
    let http = || ListenerProtocol::Http;
    let wide = on("m", None, http());
    let wide_tls = on("m", None, ListenerProtocol::TlsPassthrough);
    // Keys before and behind that of the wider one: what has not changed is not blamed.
    for key in ["a", "z"] {
        for (wide, refused, why, is_taken_closed) in [
            (&wide, proxied(on(key, HOST, http())), "take the PROXY protocol in another way", true),
            (&wide_tls, on(key, HOST, tls(&["gone"])), "certificate gone is not in the configuration", true),
            // Nothing that is for these is taken by the other one.
            (&wide, on(key, HOST, tls(&[])), "a protocol that cannot share it", false),
            (&wide, on(key, None, http()), "the same hostname", false),
        ] {
            let mut scene = Scene::new(wide);
            let rejected = scene.commit(&refused).unwrap_err();
            let told: Vec<_> = rejected.iter().map(|it| (&*it.key.name, it.reason.contains(why))).collect();
            assert_eq!(told, [(key, true)], "{rejected:?}");
            let closed = refused.close("refused").unwrap();
            assert_eq!(scene.commit(&closed).is_ok(), is_taken_closed, "{why}");
            let expected = if is_taken_closed { (key.to_owned(), true) } else { ("m".to_owned(), false) };
            assert_eq!(scene.taker("b.ex"), expected, "{why}");
            assert_eq!(scene.taker("other.ex"), ("m".to_owned(), false), "{why}");
        }
    }
}

#[test]
fn a_name_of_a_listener_that_is_closed_is_refused_in_tls() {
    let mut scene = Scene::new(&on("m", None, ListenerProtocol::TlsPassthrough));
    let refused = on("z", Some("b.ex"), tls(&["gone"]));
    scene.commit(&refused.close("refused").unwrap()).unwrap();
    let Some(Entrance::BySni(branches)) = scene.ports.get(super::PortId(0)).map(|it| &it.entrance) else {
        panic!("{:?}", scene.ports)
    };
    assert!(matches!(branches.choose(Some("b.ex")).unwrap().way, Way::Refuse));
    assert!(matches!(branches.choose(Some("other.ex")).unwrap().way, Way::Passthrough));
}
