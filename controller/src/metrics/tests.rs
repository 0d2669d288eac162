use super::{Compiling, show, show_leading};
use crate::compile::{CompileSettings, Compiler};
use crate::resources::{Edit, Kind};
use crate::serve::Hub;
use fairway_config::proto::{self, from_proxy::Message};
use fairway_runtime::admin::Pages;
use fairway_runtime::metrics::Metrics;
use fairway_runtime::metrics::Outcomes;
use fairway_runtime::readiness::Readiness;
use fairway_runtime::settings::{AdminSettings, PublicAddress};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

/// Scrapes as Prometheus does: over HTTP, at the port for metrics.
async fn scrape(metrics: Metrics) -> String {
    let any = "127.0.0.1:0".parse().unwrap();
    let settings = AdminSettings {
        admin_address: any,
        metrics_address: PublicAddress::At(any),
        readiness_address: PublicAddress::Off,
    };
    let server = Pages::new(Readiness::new(), metrics).serve(&settings).unwrap();
    let address = server.metrics_address().unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_scrape_says_what_the_controller_does() {
    let (metrics, hub) = (Metrics::new("controller", "0"), Hub::new());
    let (compiling, issued) = (Compiling::default(), Outcomes::default());
    let (leads, is_leading) = watch::channel(false);
    show(&metrics, &compiling, &hub, &issued);
    show_leading(&metrics, is_leading);
    leads.send_replace(true);

    let mut compiler = Compiler::new(CompileSettings::standalone("cluster.local".parse().unwrap()));
    let objects = crate::source::objects(
        "apiVersion: v1\nkind: Namespace\nmetadata: { name: a }\n---\napiVersion: v1\nkind: Namespace\nmetadata: { name: b }\n",
    );
    let gone = objects[0].reference();
    compiler.apply(objects.into_iter().map(Edit::Upsert));
    compiler.apply(vec![Edit::Remove(gone.clone()), Edit::Remove(gone)]);
    assert_eq!(compiler.objects().count(Kind::Namespace), 1);
    compiling.compiled(Duration::from_millis(3), compiler.objects(), 2);

    hub.commit(vec![], vec![]);
    let mut link = hub.subscribe_channel();
    let say = async |message| {
        link.to_controller.send(proto::FromProxy { message: Some(message) }).await.unwrap();
    };
    let node = proto::hello::Proxy::Node("n1".to_owned());
    say(Message::Hello(proto::Hello { proxy: Some(node), ..Default::default() })).await;
    say(Message::Start(proto::Start {})).await;
    link.from_controller.recv().await.unwrap().unwrap();
    say(Message::Ack(proto::Ack { generation: 1 })).await;
    let mut states = hub.states();
    let acknowledged = async {
        while states.get().first().is_none_or(|it| it.acked.0 == 0) {
            states.changed().await;
        }
    };
    timeout(Duration::from_secs(60), acknowledged)
        .await
        .expect("the hub hears that generation 1 is in force");
    issued.count("issued");

    let text = scrape(metrics).await;
    for line in [
        "fairway_generation 1",
        "fairway_compile_duration_seconds_count 1",
        "fairway_objects{kind=\"Namespace\"} 1",
        "fairway_objects{kind=\"HTTPRoute\"} 0",
        "fairway_problems 2",
        "fairway_proxies_connected{kind=\"node\"} 1",
        "fairway_proxies_connected{kind=\"gateway\"} 0",
        "fairway_proxies_rejecting 0",
        "fairway_proxy_answers_total{outcome=\"acknowledged\"} 1",
        "fairway_proxy_answers_total{outcome=\"rejected\"} 0",
        "fairway_certificates_total{outcome=\"issued\"} 1",
        "fairway_certificates_total{outcome=\"refused\"} 0",
        "fairway_leads 1",
    ] {
        assert!(text.lines().any(|it| it == line), "`{line}` is not in\n{text}");
    }
}
