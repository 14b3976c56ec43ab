//! Metrics, as a recorder of the facade and an exporter of OpenTelemetry get them.

use std::{collections::BTreeMap, convert::Infallible, fmt::Write as _, time::Duration};

use bytes::Bytes;
use client::{Body, Client, PoolConfig, telemetry::METRICS};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
    data::{AggregatedMetrics, HistogramDataPoint, MetricData, ResourceMetrics, ScopeMetrics},
};
use test_support::{MemoryConnector, Reply, always, answer, sequence};
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);

/// Each value, by its name and labels.
pub(crate) fn told(snapshotter: &Snapshotter) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    for (key, unit, _, value) in snapshotter.snapshot().into_vec() {
        let (_, key) = key.into_parts();
        let mut line = key.name().to_owned();
        for label in key.labels() {
            write!(line, " {}={}", label.key(), label.value()).unwrap();
        }
        let value = match value {
            DebugValue::Counter(count) => count.to_string(),
            DebugValue::Gauge(value) => value.to_string(),
            DebugValue::Histogram(all) => format!("{all:.0?}"),
        };
        let unit = unit.map_or("", |unit| unit.as_str());
        told.insert(line, format!("{value} {unit}"));
    }
    told
}

fn slow_after_a_failure() -> MemoryConnector {
    MemoryConnector::new(sequence([
        Reply::status(503).body("busy"),
        Reply::status(200).delay(2 * SECOND),
    ]))
}

#[tokio::test(start_paused = true)]
async fn figures_are_kept_for_a_client_that_asks_for_them() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let client = crate::client::observe::over(&slow_after_a_failure());
    client.get("http://peer/").no_retry().fetch().await.unwrap();
    assert!(snapshotter.snapshot().into_vec().is_empty());

    let client = Client::builder()
        // Once more adds nothing.
        .record_metrics()
        .record_metrics()
        .build_with_connector(slow_after_a_failure())
        .unwrap();
    client
        .get("http://peer/users/17")
        .url_template("/users/{id}")
        .fetch()
        .await
        .unwrap();
    let server = "server.address=peer server.port=80";
    let at = format!("http.request.method=GET {server} url.template=/users/{{id}}");
    let first = "http.response.status_code=503 network.protocol.version=1.1 error.type=503";
    let last = "http.response.status_code=200 network.protocol.version=1.1";
    let of_attempt = |name: &str, outcome: &str| format!("http.client.{name} {at} {outcome}");
    let expected = [
        (format!("http.client.active_requests {at}"), "0 count"),
        (
            format!("http.client.call.duration {at} http.response.status_code=200"),
            "[2] seconds",
        ),
        (
            format!("http.client.connection.setup.duration {server} network.protocol.version=1.1"),
            "[0] seconds",
        ),
        (format!("http.client.open_connections {server}"), "1 count"),
        (of_attempt("request.body.size", first), "[0] bytes"),
        (of_attempt("request.body.size", last), "[0] bytes"),
        (of_attempt("request.duration", first), "[0] seconds"),
        (of_attempt("request.duration", last), "[2] seconds"),
        (
            format!("http.client.request.time_in_queue {server}"),
            "[0, 0] seconds",
        ),
        (of_attempt("response.body.size", first), "[4] bytes"),
        (of_attempt("response.body.size", last), "[0] bytes"),
        (format!("retry.attempts {at} retry.previous=503"), "1 count"),
        ("retry.stops retry.stop=answered".to_owned(), "1 count"),
    ];
    assert_eq!(
        told(&snapshotter),
        expected.map(|(key, value)| (key, value.to_owned())).into()
    );
}

#[tokio::test(start_paused = true)]
async fn sizes_of_bodies_are_those_on_the_wire_also_of_resent_streams() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let client = || {
        let replies = sequence([Reply::status(503), Reply::status(200).body("12345")]);
        let builder = Client::builder().record_metrics();
        let connector = MemoryConnector::new(replies);
        builder.build_with_connector(connector).unwrap()
    };
    let stream = || {
        let parts = ["123", "4567"].map(|part| Ok::<_, Infallible>(Bytes::from(part)));
        Body::stream(tokio_stream::iter(parts))
    };
    let bodies = [
        Body::from("1234567"),
        stream(),
        // Made anew for the second attempt.
        Body::from_fn(stream),
    ];
    for body in bodies {
        let response = client().put("http://peer/").body(body).send().await;
        assert_eq!(response.unwrap().text().await.unwrap(), "12345");
        let told = told(&snapshotter);
        let of = |name: &str| {
            let values = told.iter().filter(|(key, _)| key.starts_with(name));
            values.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            of("http.client.request.body.size"),
            ["[7] bytes", "[7] bytes"]
        );
        let mut received = of("http.client.response.body.size");
        received.sort_unstable();
        assert_eq!(received, ["[0] bytes", "[5] bytes"]);
    }
}

#[tokio::test(start_paused = true)]
async fn time_in_the_queue_and_the_lives_of_connections_are_recorded() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let connector = MemoryConnector::new(answer(|_| Reply::status(200).delay(3 * SECOND)));
    connector.delay(2 * SECOND);
    let client = Client::builder()
        .record_metrics()
        .pool(PoolConfig::default().max_connections(1))
        .build_with_connector(connector)
        .unwrap();
    let (one, two) = tokio::join!(
        client.get("http://peer/").fetch(),
        client.get("http://peer/").fetch()
    );
    one.and(two).unwrap();
    client.close().await;
    tokio::time::sleep(SECOND).await;
    let told = told(&snapshotter);
    let server = "server.address=peer server.port=80";
    let lived = format!("{server} network.protocol.version=1.1");
    for (name, value) in [
        (
            format!("http.client.request.time_in_queue {server}"),
            "[2, 5] seconds",
        ),
        (
            format!("http.client.connection.setup.duration {lived}"),
            "[2] seconds",
        ),
        (
            format!("http.client.connection.duration {lived}"),
            "[6] seconds",
        ),
        (format!("http.client.open_connections {server}"), "0 count"),
    ] {
        assert_eq!(
            told.get(&name).map(|it| &**it),
            Some(value),
            "{name}: {told:#?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_is_counted_as_cancelled() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let connector = MemoryConnector::new(always(200, ""));
    connector.hang();
    let client = Client::builder().record_metrics();
    let client = client.build_with_connector(connector).unwrap();
    let call = client.get("http://peer/").fetch();
    timeout(5 * SECOND, call).await.unwrap_err();
    let told = told(&snapshotter);
    let at = "http.request.method=GET server.address=peer server.port=80";
    for (name, value) in [
        ("retry.stops retry.stop=cancelled".to_owned(), "1 count"),
        (
            format!("http.client.call.duration {at} error.type=cancelled"),
            "[5] seconds",
        ),
        (
            format!("http.client.request.duration {at} error.type=cancelled"),
            "[5] seconds",
        ),
        (format!("http.client.active_requests {at}"), "0 count"),
    ] {
        assert_eq!(
            told.get(&name).map(|it| &**it),
            Some(value),
            "{name}: {told:#?}"
        );
    }
}

#[tokio::test]
async fn a_meter_provider_gets_the_same_with_units_and_buckets() {
    let exporter = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(exporter.clone()).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let connector = MemoryConnector::new(sequence([Reply::status(503), Reply::status(200)]));
    let client = Client::builder()
        .meter_provider(&provider)
        .build_with_connector(connector)
        .unwrap();
    client.get("http://peer/").fetch().await.unwrap();
    client.close().await;
    provider.force_flush().unwrap();

    let finished = exporter.get_finished_metrics().unwrap();
    let all = finished.iter().flat_map(ResourceMetrics::scope_metrics);
    let all: Vec<_> = all.flat_map(ScopeMetrics::metrics).collect();
    assert_eq!(all.len(), METRICS.len());
    for metric in METRICS {
        let found = all.iter().find(|it| it.name() == metric.name());
        let found = found.unwrap_or_else(|| panic!("{metric:?} was recorded"));
        assert_eq!(found.unit(), metric.unit());
        assert_eq!(found.description(), metric.description());
        if let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = found.data() {
            for point in histogram.data_points() {
                assert_eq!(point.bounds().collect::<Vec<_>>(), metric.buckets());
            }
        } else {
            assert!(metric.buckets().is_empty(), "{metric:?}");
        }
    }
    let duration = all
        .iter()
        .find(|it| it.name() == "http.client.request.duration");
    let Some(AggregatedMetrics::F64(MetricData::Histogram(histogram))) =
        duration.map(|it| it.data())
    else {
        panic!("it is a histogram");
    };
    let statuses = histogram
        .data_points()
        .flat_map(HistogramDataPoint::attributes);
    let mut statuses: Vec<_> = statuses
        .filter(|pair| pair.key.as_str() == "http.response.status_code")
        .map(|pair| pair.value.clone())
        .collect();
    statuses.sort_by_key(ToString::to_string);
    // Numbers are numbers.
    assert_eq!(statuses, [200, 503].map(opentelemetry::Value::I64));
}
