//! One route cannot hurt the plane by its regular expressions.

use super::{GATEWAY, SHOP, World};
use crate::compile::route::budget::{OF_NAMESPACE, OF_ROUTE};
use fairway_config::model::{Filter, PathMatch, Pattern, ValueMatch};
use std::time::Duration;
use tokio::time::Instant;

/// What the thread has used of the processor: other tests run beside this one.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or_default())
}

fn route(name: &str, year: u32, rules: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{ name: {name}, namespace: shop, creationTimestamp: '{year}-01-01T00:00:00Z' }}\nspec:\n\
         \x20 hostnames: [{name}.ex]\n  parentRefs: [{{ name: public, namespace: edge }}]\n  rules: {rules}\n"
    )
}

/// 128 matches with 33 expressions each, as many as the API takes.
fn full(expression: impl Fn(usize) -> String) -> String {
    let quoted = |number: usize| serde_json::to_string(&expression(number)).unwrap();
    let matches = |rule: usize| -> String {
        let one = |index: usize| {
            let base = (rule * 64 + index) * 33;
            let list = |offset: usize, name: &str| -> String {
                (0..16)
                    .map(|it| {
                        format!(
                            "{{ type: RegularExpression, name: {name}{it}, value: {} }},",
                            quoted(base + offset + it)
                        )
                    })
                    .collect()
            };
            format!(
                "{{ path: {{ type: RegularExpression, value: {} }}, headers: [{}], queryParams: [{}] }},",
                quoted(base),
                list(1, "h"),
                list(17, "q")
            )
        };
        (0..64).map(one).collect()
    };
    let rule =
        |rule| format!("{{ matches: [{}], backendRefs: [{{ name: web, port: 80 }}] }},", matches(rule));
    format!("[{}]", (0..2).map(rule).collect::<String>())
}

#[test]
fn the_largest_route_of_expressions_is_compiled_within_its_ceilings() {
    type Shape = fn(usize) -> String;
    let shapes: [(&str, Shape); 8] = [
        ("counted classes", |it| format!(r"/[\pL\pN]{{5}}x{it}")),
        ("one large class", |it| format!(r"[\pL\pN]{{900}}x{it}")),
        ("many classes", |it| r"[ -\x{10FFFF}]".repeat(20) + &it.to_string()),
        ("folded classes", |it| r"(?i)[\pL]".repeat(20) + &it.to_string()),
        ("merged classes", |it| format!("[{}]{it}", r"\pL\pN".repeat(30))),
        ("nested repetitions", |it| format!("(?:(?:(?:a{{1,100}}){{1,100}}){{1,100}}){it}")),
        ("nothing that can be parsed", |it| format!("({it}")),
        ("plain", |it| format!("/v[0-9]+/items/{it}")),
    ];
    for (what, expression) in shapes {
        let yaml = route("bomb", 2026, &full(expression));
        let objects = crate::source::objects(&yaml);
        let mut world = World::plain(&format!("{GATEWAY}---\n{SHOP}"));
        let before = processor_time();
        let (started, edits) = (Instant::now(), objects.into_iter().map(crate::resources::Edit::Upsert));
        world.apply(edits.collect());
        let took = processor_time() - before;
        println!("{what}: {took:?} of the processor, {:?} in all", started.elapsed());
        // Nothing is optimised here.
        assert!(took < Duration::from_secs(8), "{what}: {took:?}");
        let held = world.route("HTTPRoute/shop/bomb").unwrap();
        let mut costs = std::collections::HashMap::new();
        for it in held.rules.iter().flat_map(|it| &it.matches) {
            let of_headers = it.headers.iter().map(|it| &it.value).chain(it.query.iter().map(|it| &it.value));
            let patterns = of_headers.filter_map(|it| match it {
                ValueMatch::Regex(it) => Some(it),
                ValueMatch::Exact(_) => None,
            });
            let path = match &it.path {
                PathMatch::Regex(it) => Some(it),
                _ => None,
            };
            for pattern in patterns.chain(path) {
                costs.insert(pattern.as_str().to_owned(), pattern.cost());
            }
        }
        let cost: u64 = costs.values().sum();
        assert!(cost <= OF_ROUTE + Pattern::COST_LIMIT, "{what}: {cost}");
        let conditions = world.conditions("HTTPRoute shop/bomb").join(" ");
        assert!(
            conditions.contains("Accepted=False/UnsupportedValue")
                || conditions.contains("PartiallyInvalid=True"),
            "{what}: {conditions}"
        );
        if what == "plain" {
            let message = world.message("HTTPRoute shop/bomb", "Accepted")
                + &world.message("HTTPRoute shop/bomb", "PartiallyInvalid");
            assert!(
                message.contains("regular expressions of the route need more than 4 MiB of memory together"),
                "{message}"
            );
        }
    }
}

#[test]
fn a_namespace_has_room_for_so_many_expressions_and_the_oldest_come_first() {
    // Each costs a little less than a route may.
    let expression = |name: &str, it: usize| format!(r"[\pL\pN]{{5}}{name}{it}");
    let cost = Pattern::new(&format!("/{}", expression("r0", 10))).unwrap().cost() + 64;
    let (each, routes) = (usize::try_from(OF_ROUTE / cost).unwrap(), OF_NAMESPACE / OF_ROUTE + 2);
    let rules = |name: &str| -> String {
        let one =
            |it| format!("{{ path: {{ type: RegularExpression, value: '/{}' }} }},", expression(name, it));
        let matches: String = (0..each).map(one).collect();
        format!("[{{ matches: [{matches}], backendRefs: [{{ name: web, port: 80 }}] }}]")
    };
    let name = |it: u64| format!("r{it}");
    let yaml: String = (0..routes)
        .map(|it| route(&name(it), 2000 + u32::try_from(it).unwrap(), &rules(&name(it))))
        .collect();
    let mut world = World::plain(&format!("{GATEWAY}---\n{SHOP}{yaml}"));
    let holds = |world: &World, it: u64| {
        let rule = world.route(&format!("HTTPRoute/shop/{}", name(it))).unwrap().rules[0].clone();
        !matches!(rule.filters.last(), Some(Filter::Unresolved(_)))
    };
    let without: Vec<u64> = (0..routes).filter(|it| !holds(&world, *it)).collect();
    assert!(!without.is_empty() && !without.contains(&0) && without.contains(&(routes - 1)), "{without:?}");
    let message = world.message(&format!("HTTPRoute shop/{}", name(routes - 1)), "Accepted");
    assert!(message.contains("namespace shop need more than 16 MiB"), "{message}");
    // Room is made for the younger ones.
    world.remove(&route("r0", 2000, &rules("r0")));
    assert!(holds(&world, without[0]));
}

/// Origins of CORS of rules and of backends, as many as cost a little less than a route may.
#[test]
fn a_namespace_has_room_for_so_many_origins_and_the_oldest_come_first() {
    let origin =
        |name: &str, it: usize| format!("https://*.{}.{name}-{it:05}.ex", vec!["a".repeat(60); 3].join("."));
    let expression = origin("r0", 0).split('*').map(regex::escape).collect::<Vec<_>>().join("[a-z0-9.-]+");
    let cost = Pattern::new(&expression).unwrap().cost() + 64;
    let each = usize::try_from(OF_ROUTE / cost).unwrap();
    let routes = OF_NAMESPACE / OF_ROUTE + 2;
    let rules = |name: &str| -> String {
        let all: Vec<String> = (0..each).map(|it| origin(name, it)).collect();
        let filters: Vec<String> = all
            .chunks(64)
            .map(|it| format!("filters: [{{ type: CORS, cors: {{ allowOrigins: {it:?} }} }}]"))
            .collect();
        // Sixteen rules at most, with a backend each that has origins of its own.
        let one = |it: &[String]| {
            let backend = it.get(1).map(|it| format!(", {it}")).unwrap_or_default();
            format!("{{ {}, backendRefs: [{{ name: web, port: 80{backend} }}] }},", it[0])
        };
        let rules: Vec<String> = filters.chunks(2).map(one).collect();
        assert!(rules.len() <= 16, "{}", rules.len());
        format!("[{}]", rules.concat())
    };
    let name = |it: u64| format!("r{it}");
    let yaml: String = (0..routes)
        .map(|it| route(&name(it), 2000 + u32::try_from(it).unwrap(), &rules(&name(it))))
        .collect();
    let world = World::plain(&format!("{GATEWAY}---\n{SHOP}{yaml}"));
    let without: Vec<u64> = (0..routes)
        .filter(|it| {
            let rules = &world.route(&format!("HTTPRoute/shop/{}", name(*it))).unwrap().rules;
            rules.iter().all(|it| matches!(it.filters.last(), Some(Filter::Unresolved(_))))
        })
        .collect();
    assert!(!without.is_empty() && !without.contains(&0) && without.contains(&(routes - 1)), "{without:?}");
    let message = world.message(&format!("HTTPRoute shop/{}", name(routes - 1)), "Accepted");
    assert!(message.contains("namespace shop need more than 16 MiB"), "{message}");
}

#[test]
fn expressions_that_people_write_fit() {
    let rules: String = (0..16)
        .map(|it| {
            format!(
                "{{ matches: [{{ path: {{ type: RegularExpression, value: '/api/v[0-9]+/team-{it}/[^/]+/items/?.*' }}, \
                 headers: [{{ name: cookie, type: RegularExpression, value: '^(.*?;)?\\s*(user=beta{it})(;.*)?$' }}] }}], \
                 backendRefs: [{{ name: web, port: 80 }}] }},"
            )
        })
        .collect();
    let world = World::plain(&format!("{GATEWAY}---\n{SHOP}{}", route("many", 2026, &format!("[{rules}]"))));
    assert!(world.problems().is_empty(), "{:?}", world.problems());
}

#[test]
fn an_expression_that_no_path_fits_is_named() {
    let rules = "[{ matches: [{ path: { type: RegularExpression, value: '/caf%c3%a9' } }], backendRefs: [{ name: web, port: 80 }] }]";
    let world = World::plain(&format!("{GATEWAY}---\n{SHOP}{}", route("cafe", 2026, rules)));
    let problems = world.problems();
    assert!(problems.iter().any(|it| it.contains("%c3") && it.contains("%C3")), "{problems:?}");
}
