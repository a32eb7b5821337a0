//! The figures of a run: medians over its rounds, and their ratios to the yardstick of the same round.

use std::fmt;

use crate::load::Measured;

/// What the yardstick did in the same round.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    /// Transactions a second.
    pub per_second: f64,
    /// Half of them took at most so many milliseconds; 0 where it is not known.
    pub p50_ms: f64,
    /// Microseconds of the database's processor time for each.
    pub cpu: f64,
}

/// One round of a cell.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// What the service did.
    pub measured: Measured,
    /// What the yardstick did just before.
    pub beside: Beside,
    /// Microseconds of processor time for each request: the service's.
    pub service_cpu: f64,
    /// The database's.
    pub database_cpu: f64,
    /// KiB that are the service's own.
    pub memory: u64,
}

/// One kind of work at one number of connections.
#[derive(Debug, Clone)]
pub struct Cell {
    /// The work and the connections.
    pub name: String,
    /// The least ratio that is wanted.
    pub wanted: Option<f64>,
    /// What was measured.
    pub rounds: Vec<Round>,
}

impl Cell {
    /// A cell with nothing measured yet.
    pub const fn new(name: String, wanted: Option<f64>) -> Self {
        Self { name, wanted, rounds: Vec::new() }
    }

    /// The median over its rounds.
    fn median(&self, value: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(value).collect())
    }

    /// The median of the rounds' ratios to their yardsticks.
    pub fn ratio(&self) -> f64 {
        self.median(|round| round.measured.per_second / round.beside.per_second)
    }

    /// The figures of the cell, as a row of a Markdown table.
    pub fn line(&self) -> String {
        let milliseconds = |value: std::time::Duration| value.as_secs_f64() * 1e3;
        let memory = self.rounds.iter().map(|round| round.memory).max().unwrap_or_default() / 1024;
        let wanted = self.wanted.map_or_else(|| "–".to_owned(), |wanted| format!("≥ {wanted}"));
        format!(
            "| {} | {:.2} | {wanted} | {:.0} | {:.0} | {:.2} / {:.2} | {:.2} | {:.0} + {:.0} | {:.0} | {memory} |",
            self.name,
            self.ratio(),
            self.median(|round| round.measured.per_second),
            self.median(|round| round.beside.per_second),
            self.median(|round| milliseconds(round.measured.p50)),
            self.median(|round| milliseconds(round.measured.p99)),
            self.median(|round| round.beside.p50_ms),
            self.median(|round| round.service_cpu),
            self.median(|round| round.database_cpu),
            self.median(|round| round.beside.cpu),
        )
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// All that was measured.
#[derive(Debug, Default)]
pub struct Table {
    /// The cells, in the order of measurement.
    pub cells: Vec<Cell>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| work/connections | × yardstick | wanted | /s | yardstick /s | p50 / p99 ms | yardstick p50 ms | CPU µs service + database | yardstick CPU µs | MiB |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
        self.cells.iter().try_for_each(|cell| writeln!(f, "{}", cell.line()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_ratio_is_the_median_of_ratios_of_the_same_round() {
        let round = |mine: f64, its: f64| Round {
            measured: Measured {
                requests: 1,
                failed: 0,
                per_second: mine,
                p50: Duration::from_millis(1),
                p99: Duration::from_millis(2),
            },
            beside: Beside { per_second: its, p50_ms: 1.0, cpu: 1.0 },
            service_cpu: 1.0,
            database_cpu: 1.0,
            memory: 2_048,
        };
        let cell = Cell {
            rounds: vec![round(10.0, 5.0), round(100.0, 100.0), round(9.0, 3.0)],
            ..Cell::new("x".into(), None)
        };
        assert!((cell.ratio() - 2.0).abs() < 1e-9);
        assert!(cell.line().contains("| x | 2.00 | – |"));
    }
}
