//! The service's life: listen, open, prepare, serve, drain, close. It must not know any route or statement.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use custodia_adapters::arrivals::{Arrivals, LOOK_EVERY};
use custodia_adapters::http;
use custodia_adapters::http::ops::{self, Draining, Ops};
use custodia_adapters::ids::BlockIds;
use custodia_domain::Timestamp;
use custodia_domain::ports::{Clock, CustomerStore, IdSource, StoreError, WebhookStore};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::bootstrap;
use crate::config::Config;
use crate::routes::{self, Parts};
use crate::stores::Stores;

/// How often old receipts are removed.
const PURGE_EVERY: Duration = Duration::from_mins(10);
/// How many receipts are removed at once.
const PURGE_BATCH: u32 = 1_000;

/// Serves until the process is told to stop.
///
/// # Errors
/// The service cannot start.
pub async fn serve(config: &Config) -> anyhow::Result<()> {
    bootstrap::check(config)?;
    // Before the first start prints what it prints once: a taken port must not swallow it.
    let listener = listen(&config.listen).await?;
    let address = listener.local_addr().context("cannot tell the address")?;
    let ops_listener = match &config.ops_listen {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let mut signals = Signals::install()?;
    let stores = Stores::open(config, config.migrate_on_start).await?;
    let (signing, welcome) = bootstrap::prepare(config, &stores).await?;
    let ids = Arc::new(BlockIds::with_block(Arc::clone(&stores.customers), config.id_block));
    let ops = operations(&stores)?;
    let draining = ops.draining.clone();
    let mut chores = JoinSet::new();
    chores.spawn(ops::upkeep(ops.metrics.clone()));
    let (customers, webhooks) = (Arc::clone(&stores.customers), Arc::clone(&stores.webhooks));
    chores.spawn(purge(customers, webhooks, config.clock.clone(), config.receipt_retention));
    let arrivals = Arc::new(Arrivals::default());
    chores.spawn(look(Arc::clone(&arrivals), Arc::clone(&stores.customers)));
    let ids_of_routes = Arc::clone(&ids) as Arc<dyn IdSource>;
    let parts = Parts { stores: &stores, signing, ids: ids_of_routes, arrivals: Arc::clone(&arrivals) };
    let api = routes::api(config, parts)?.router;
    let (router, ops_router) = match ops_listener {
        Some(_) => (api, Some(http::wrap(ops::router(ops), &config.http))),
        None => (api.merge(ops::router(ops)), None),
    };
    let (stop_ops, stopped) = oneshot::channel::<()>();
    let ops_task = ops_listener.zip(ops_router).map(|(listener, router)| {
        let limits = config.server.clone();
        tokio::spawn(async move { http::serve(listener, router, &limits, async { drop(stopped.await) }).await })
    });
    if let Some(welcome) = welcome {
        show(&welcome.text(address));
    }
    announce(address);
    let stop = async {
        signals.either().await;
        draining.begin();
        arrivals.close();
        tracing::info!("told to stop: finishing what is in flight");
    };
    let drained = http::serve(listener, http::wrap(router, &config.http), &config.server, stop).await;
    chores.shutdown().await;
    if let Err(error) = ids.close().await {
        tracing::warn!(%error, "unused customer numbers could not be given back");
    }
    stores.close().await;
    drop(stop_ops);
    if let Some(task) = ops_task {
        let _ = task.await;
    }
    tracing::info!(connections_cut = drained.cut, "stopped");
    Ok(())
}

async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Scripts and tests wait for this line.
fn announce(address: SocketAddr) {
    tracing::info!("listening on http://{address}");
}

/// The first start's words go to standard output: they are a result and no log. Nobody reading them is no reason to stop.
fn show(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}

fn operations(stores: &Stores) -> anyhow::Result<Ops> {
    let customers = Arc::clone(&stores.customers);
    let ready: ops::ReadinessProbe = Arc::new(move || {
        let customers = Arc::clone(&customers);
        Box::pin(async move {
            let checked = customers.check().await;
            if let Err(error) = &checked {
                tracing::warn!(%error, "not ready");
            }
            checked.is_ok()
        })
    });
    let metrics = ops::install_metrics().context("cannot record metrics")?;
    Ok(Ops { ready, draining: Draining::default(), metrics })
}

/// The signals that ask for an end, caught from the start on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> anyhow::Result<Self> {
        let install = |kind| signal(kind).context("cannot catch signals");
        Ok(Self { terminate: install(SignalKind::terminate())?, interrupt: install(SignalKind::interrupt())? })
    }

    async fn either(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Finds what other processes commit, for those who wait for it.
async fn look(arrivals: Arc<Arrivals>, customers: Arc<dyn CustomerStore>) {
    arrivals.look(&*customers, LOOK_EVERY).await;
}

/// Removes receipts that nobody may ask for any more, and deliveries of webhooks that ended as long ago, in small
/// batches. Never returns.
async fn purge(
    customers: Arc<dyn CustomerStore>,
    webhooks: Arc<dyn WebhookStore>,
    clock: impl Clock,
    retention: Duration,
) {
    let retention = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
    let mut beat = tokio::time::interval(PURGE_EVERY);
    loop {
        beat.tick().await;
        let Ok(before) = Timestamp::from_microseconds(clock.now().at.microseconds().saturating_sub(retention)) else {
            continue;
        };
        in_batches("receipts", || customers.purge_receipts(before, PURGE_BATCH)).await;
        in_batches("deliveries", || webhooks.purge_deliveries(before, PURGE_BATCH)).await;
    }
}

/// Removes batch after batch while they are full.
async fn in_batches<F: Future<Output = Result<u64, StoreError>>>(what: &'static str, purge: impl Fn() -> F) {
    loop {
        match purge().await {
            Ok(gone) if gone >= u64::from(PURGE_BATCH) => {}
            Ok(_) => break,
            Err(error) => {
                tracing::warn!(%error, what, "what is old could not be removed");
                break;
            }
        }
    }
}
