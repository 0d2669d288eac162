//! What thousands of ClientPolicies for one object cost.

use super::World;
use super::client_addresses::{CLASS, GATEWAY, policy, set};
use fairway_config::model::{AddressSource, Resource, ResourceKind};

const LISTENERS: usize = 32;

/// A policy for all listeners of the ListenerSet, or for one.
fn of_set(index: usize, source: &str) -> String {
    let listener = match index {
        0 => String::new(),
        it => format!(", sectionName: x{}", it % LISTENERS),
    };
    policy("team", &format!("p{index}"), 1, &format!("kind: ListenerSet, name: ls{listener}"), source)
}

fn world(policies: usize) -> World {
    let listener =
        |it: usize| format!("{{ name: x{it}, port: 82, protocol: HTTP, hostname: h{it}.example }}");
    let listeners: Vec<String> = (0..LISTENERS).map(listener).collect();
    let policies: String = (0..policies).map(|it| of_set(it, &source("10.0.0.0/8"))).collect();
    World::cluster(&format!("{CLASS}{GATEWAY}{}{policies}", set("team", 1, &listeners.join(", "))))
}

fn source(range: &str) -> String {
    format!("clientAddress: {{ source: ForwardedFor, trustedCIDRs: [{range}] }}")
}

#[test]
fn an_edit_of_one_policy_costs_the_same_however_many_there_are_for_the_object() {
    let runs = |policies: usize| {
        let mut world = world(policies);
        assert_eq!(world.source("team/ls/x1"), "forwarded");
        // One that holds nowhere; one that holds for a listener, and says something else; one that closes it; and a further field.
        let mut edit = |index: usize, says: &str| {
            world.add(&of_set(index, says));
            world.compiler.runs()
        };
        [
            edit(policies - 1, &source("10.1.0.0/16")),
            edit(1, &source("10.2.0.0/16")),
            edit(1, "clientAddress: { source: Geneve }"),
            edit(1, &source("10.3.0.0/16")),
            edit(policies - 1, &format!("{}, tls: {{ minVersion: '1.3' }}", source("10.1.0.0/16"))),
        ]
    };
    let few = runs(2 * LISTENERS);
    println!("{few:?}");
    assert_eq!(few, runs(20 * LISTENERS));
}

/// What a policy says is read once, and all its listeners have that.
#[test]
fn the_listeners_of_a_policy_share_its_ranges() {
    let world = world(1);
    let ranges = |listener: usize| {
        let key = format!("edge/public/team/ls/x{listener}");
        match world.resource(ResourceKind::Listener, &key) {
            Some(Resource::Listener(it)) => match &it.address_source {
                AddressSource::ForwardedFor(trusted) => trusted.cidrs().as_ptr(),
                other => panic!("{other:?}"),
            },
            other => panic!("{key}: {other:?}"),
        }
    };
    assert!((1..LISTENERS).all(|it| ranges(it) == ranges(0)));
}
