//! Prometheus metrics of one process: a registry, and short ways to put something into it.
//!
//! Crates below this one take a `prometheus::Registry`; services use the helpers. A name registered twice is an error and not a
//! second time series.

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Upper bounds in seconds for anything that goes over a network: 0.25 ms to about 8 s, doubling.
pub const LATENCY_BUCKETS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024,
    2.048, 4.096, 8.192,
];

/// A name taken twice, or a name that Prometheus does not allow.
pub type Error = prometheus::Error;

/// The registry behind `/metrics`. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// For crates that register by themselves.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A counter without labels.
    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        let metric = IntCounter::new(name, help)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// A counter for each combination of label values; the values must come from a small set.
    pub fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, Error> {
        let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// A whole number that goes up and down.
    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        let metric = IntGauge::new(name, help)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// Whole numbers that go up and down, one for each combination of label values.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// A measurement with a fraction, such as seconds of lag.
    pub fn float_gauge(&self, name: &str, help: &str) -> Result<Gauge, Error> {
        let metric = Gauge::new(name, help)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// Measurements with a fraction, one for each combination of label values.
    pub fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, Error> {
        let metric = GaugeVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// Distribution of a measurement without labels; for latencies take [`LATENCY_BUCKETS`].
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, Error> {
        let metric =
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// Distribution of a measurement; for latencies take [`LATENCY_BUCKETS`].
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, Error> {
        let metric = HistogramVec::new(
            HistogramOpts::new(name, help).buckets(buckets.to_vec()),
            labels,
        )?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// Everything registered, in the text form that Prometheus scrapes.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::warn!(%error, "metrics could not be written");
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_registered_is_scraped() {
        let metrics = Metrics::default();
        metrics
            .counters("dm_tries_total", "Tries.", &["how"])
            .unwrap()
            .with_label_values(&["hard"])
            .inc_by(3);
        assert!(
            metrics.text().contains("dm_tries_total{how=\"hard\"} 3"),
            "{}",
            metrics.text()
        );
    }

    #[test]
    fn a_name_cannot_be_registered_twice() {
        let metrics = Metrics::default();
        metrics.gauge("dm_depth", "Depth.").unwrap();
        assert!(metrics.counter("dm_depth", "Depth.").is_err());
    }
}
