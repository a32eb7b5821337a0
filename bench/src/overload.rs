//! Three times what the service can do: what it still does, and how fast it sheds the rest. Owns the two loads, one that waits
//! for its answers and one that does not; must not know how the service is started.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use reqwest::Client;
use tokio::task::JoinSet;

use crate::service::Service;

/// Customers of one request: work enough that the load costs little beside it.
const BATCH: usize = 50;
/// How many ask at once while the capacity is measured.
const ASKING: usize = 64;
/// How many times the capacity is then asked for.
const TIMES: f64 = 3.0;
/// How often requests are begun.
const BEAT: Duration = Duration::from_millis(5);

/// How the service fared.
#[derive(Debug)]
pub struct Overload {
    /// Requests a second that it answered when nobody asked for more than it had answered.
    pub capacity: f64,
    /// Requests a second that were begun.
    pub offered: f64,
    /// Requests a second that were done all the same.
    pub done: f64,
    /// Half of them took at most so long, and 99 of a hundred.
    pub done_in: (Duration, Duration),
    /// Requests that were shed, 503.
    pub shed: usize,
    /// Half of these were told within so long, and 99 of a hundred.
    pub shed_in: (Duration, Duration),
    /// The memory of the service before and at the end, in KiB.
    pub memory: (u64, u64),
}

struct Answered {
    status: u16,
    after: Duration,
}

/// Measures the capacity for some seconds, then offers three times as much for as long.
///
/// # Errors
/// The service does not answer, or something else than 201 and 503.
pub async fn run(service: &Service, seconds: u32) -> anyhow::Result<Overload> {
    let client = Client::builder().no_proxy().timeout(Duration::from_mins(1)).build()?;
    let person = serde_json::json!({"name": "Ada Lovelace", "email": "ada@example.com", "source": "web"});
    let body = serde_json::json!({"customers": vec![person; BATCH]}).to_string();
    let post = move |url: &str, token: &str| {
        let request = client.post(url).bearer_auth(token).header("Content-Type", "application/json").body(body.clone());
        async move {
            let began = Instant::now();
            let answer = request.send().await?;
            let after = began.elapsed();
            let status = answer.status().as_u16();
            answer.bytes().await?;
            Ok::<_, reqwest::Error>(Answered { status, after })
        }
    };
    let (url, token) = (format!("{}/external/v1/customers/bulk", service.base()), service.token().to_owned());
    let length = Duration::from_secs(seconds.into());
    let mut asking = JoinSet::new();
    let began = Instant::now();
    for _ in 0..ASKING {
        let (post, url, token) = (post.clone(), url.clone(), token.clone());
        asking.spawn(async move {
            let mut done = 0_u32;
            while began.elapsed() < length {
                let answered = post(&url, &token).await?;
                done += u32::from(answered.status == 201);
            }
            anyhow::Ok(done)
        });
    }
    let mut done = 0;
    while let Some(asked) = asking.join_next().await {
        done += asked??;
    }
    let capacity = f64::from(done) / began.elapsed().as_secs_f64();
    ensure!(capacity > 0.0, "nothing was done");
    let before = service.memory()?;
    let mut offered = JoinSet::new();
    let began = Instant::now();
    let mut beat = tokio::time::interval(BEAT);
    let mut begun = 0_u32;
    while began.elapsed() < length {
        beat.tick().await;
        while f64::from(begun) < began.elapsed().as_secs_f64() * capacity * TIMES {
            let (post, url, token) = (post.clone(), url.clone(), token.clone());
            offered.spawn(async move { post(&url, &token).await });
            begun += 1;
        }
    }
    let lasted = began.elapsed().as_secs_f64();
    let at_the_end = service.memory()?;
    let mut all = Vec::new();
    while let Some(answered) = offered.join_next().await {
        all.push(answered?.context("no answer")?);
    }
    let whole = began.elapsed().as_secs_f64();
    let of = |status: u16| all.iter().filter(|one| one.status == status).map(|one| one.after).collect::<Vec<_>>();
    let (good, shed) = (of(201), of(503));
    ensure!(good.len() + shed.len() == all.len(), "something else than 201 and 503 was answered");
    Ok(Overload {
        capacity,
        offered: f64::from(begun) / lasted,
        done: f64::from(u32::try_from(good.len())?) / whole,
        done_in: quantiles(good),
        shed: shed.len(),
        shed_in: quantiles(shed),
        memory: (before, at_the_end),
    })
}

/// The 50th and the 99th percentile.
fn quantiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied();
    (at(50).unwrap_or_default(), at(99).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_times() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantiles(times), (Duration::from_millis(51), Duration::from_millis(100)));
        assert_eq!(quantiles(Vec::new()), (Duration::ZERO, Duration::ZERO));
    }
}
