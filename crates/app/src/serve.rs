//! The service's life: listen, open, prepare, serve, drain, close. It must not know any route or statement.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use custodia_adapters::arrivals::Arrivals;
use custodia_adapters::http;
use custodia_adapters::http::ServerLimits;
use custodia_adapters::http::ops::{self, Draining, Ops};
use custodia_adapters::ids::BlockIds;
use custodia_domain::ports::IdSource;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::bootstrap;
use crate::chores::Chores;
use crate::config::Config;
use crate::routes::{self, Parts};
use crate::stores::Stores;

/// Open files beside connections, those to the database and those of webhooks: listeners, the database's own files, the log.
const FILES_KEPT: usize = 64;

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
    let server = within_open_files(config, raised_file_limit());
    let mut signals = Signals::install()?;
    let stores = Stores::open(config, config.migrate_on_start).await?;
    let (signing, welcome) = bootstrap::prepare(config, &stores).await?;
    let ids = Arc::new(BlockIds::with_block(Arc::clone(&stores.customers), config.id_block));
    let ops = operations(&stores)?;
    let draining = ops.draining.clone();
    let arrivals = Arc::new(Arrivals::default());
    let registry = routes::registry(config, &stores, Arc::clone(&ids) as Arc<dyn IdSource>, &arrivals);
    let outbound = routes::outbound(config);
    let upkeep = ops::upkeep(ops.metrics.clone());
    let chores = Chores { config, stores: &stores, registry: &registry, arrivals: &arrivals, outbound: &outbound };
    let chores = chores.begin(Arc::clone(&ids) as Arc<dyn IdSource>, upkeep);
    let parts = Parts { stores: &stores, signing, registry, arrivals: Arc::clone(&arrivals), outbound };
    let api = routes::api(config, parts)?.router;
    let (router, ops_router) = match ops_listener {
        Some(_) => (api, Some(http::wrap(ops::router(ops), &config.http))),
        None => (api.merge(ops::router(ops)), None),
    };
    let (stop_ops, stopped) = oneshot::channel::<()>();
    let ops_task = ops_listener.zip(ops_router).map(|(listener, router)| {
        let limits = server.clone();
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
        chores.stop.cancel();
        tracing::info!("told to stop: finishing what is in flight");
    };
    let drained = http::serve(listener, http::wrap(router, &config.http), &server, stop).await;
    chores.end().await;
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

/// As many open files as the system lets this process have; `None` where it does not say. Many systems begin with a thousand,
/// for the sake of programs that this is none of.
fn raised_file_limit() -> Option<usize> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).ok()?;
    Some(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// The limits of a listener, with no more connections than leave files for the database and the rest: where none is left,
/// it is the database's that fail to open.
fn within_open_files(config: &Config, files: Option<usize>) -> ServerLimits {
    let wanted = config.server.max_connections;
    let kept =
        FILES_KEPT + usize::try_from(config.database_connections).unwrap_or(usize::MAX) + config.webhook_concurrency;
    let possible = files.map_or(wanted, |files| files.saturating_sub(kept).max(1));
    if possible < wanted {
        tracing::warn!(wanted, possible, "open files are too few for max_connections: further ones wait (ulimit -n)");
    }
    ServerLimits { max_connections: wanted.min(possible), ..config.server.clone() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_database() {
        let config = Config::default().unwrap();
        let connections = |files| within_open_files(&config, files).max_connections;
        assert_eq!(connections(None), 16_384);
        assert_eq!(connections(Some(1 << 20)), 16_384);
        assert_eq!(connections(Some(1_024)), 1_024 - FILES_KEPT - 16 - 64);
        assert_eq!(connections(Some(10)), 1);
    }
}
