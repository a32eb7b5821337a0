//! The settings: one table of names, defaults and words, read from flags, the environment and `custodia.toml`, in that order of
//! precedence. The only place that reads the environment. It must not know what a setting is used for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Arg, ArgMatches};
use custodia_adapters::clock::SystemClock;
use custodia_adapters::http::{HttpLimits, ServerLimits};
use custodia_adapters::tokens::OutsideIssuer;
use secrecy::{ExposeSecret as _, SecretString};

/// What every variable of the environment that is a setting begins with.
const PREFIX: &str = "CUSTODIA_";
/// Variables of the environment that belong to the project's tests and not to the service.
const TEST_PREFIX: &str = "CUSTODIA_TEST_";
/// The file that is read where no other one is named.
const FILE: &str = "custodia.toml";
/// The name of the setting that names the file; it cannot stand in the file.
const CONFIG: &str = "config";

/// One setting: its flag is `--name`, its variable `CUSTODIA_NAME`, its line in the file `name = ...`, with `_` for `-` in both.
struct Setting {
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
}

const fn with(name: &'static str, value: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { name, value, default: Some(default), help }
}

const fn without(name: &'static str, value: &'static str, help: &'static str) -> Setting {
    Setting { name, value, default: None, help }
}

/// Every setting, in the order of `--help`.
const SETTINGS: &[Setting] = &[
    without(CONFIG, "FILE", "A file of settings, one `name = value` a line [default: custodia.toml, if there is one]"),
    with("listen", "ADDRESS", "127.0.0.1:8080", "Where to serve; port 0 takes a free one"),
    without("ops_listen", "ADDRESS", "Where to serve /livez, /readyz and /metrics instead, if not beside the rest"),
    with(
        "database_url",
        "URL",
        "sqlite://custodia.db",
        "sqlite://FILE, postgres://USER:PASSWORD@HOST:PORT/NAME, or memory:",
    ),
    with("database_connections", "N", "16", "Connections to PostgreSQL, at most"),
    with(
        "migrate_on_start",
        "BOOL",
        "true",
        "Whether serve brings a PostgreSQL database to the current schema first; an SQLite file always is",
    ),
    without(
        "signing_key_file",
        "FILE",
        "The private key of our tokens, PEM, mode 0600; see keygen [default on SQLite: beside the database]",
    ),
    with("zone", "ZONE", "UTC", "The zone that decides which day it is: UTC, +02:00 or Europe/Warsaw"),
    with("token_issuer", "NAME", "custodia", "The `iss` of our own tokens"),
    with("token_life", "DURATION", "365d", "How long our own tokens last: 90s, 15m, 12h or 365d"),
    with("login_failures", "N", "30", "Failed passwords a minute for an account and address; 0 is no limit"),
    with("rate_limit", "N", "1200000", "Requests a minute for each credential; 0 is no limit"),
    without("issuer", "NAME", "An outside issuer whose tokens are accepted: its `iss`"),
    without("jwks_url", "URL", "Where the outside issuer publishes its keys (https)"),
    without("audience", "NAME", "What the `aud` of the outside issuer's tokens has to name"),
    with(
        "organization_claim",
        "NAME",
        "org",
        "The claim of the outside issuer's tokens that holds the organization's number",
    ),
    with(
        "issuer_algorithms",
        "LIST",
        "RS256",
        "The algorithms of the outside issuer's keys, by commas: RS256, PS256, ES256, ES384, EdDSA",
    ),
    with(
        "jwks_refresh",
        "DURATION",
        "30s",
        "How long to wait before the outside issuer's keys are fetched again for an unknown one",
    ),
    with("id_block", "N", "32", "Customer numbers taken from the database at once, 1 to 10000; more under load"),
    with(
        "receipt_retention",
        "DURATION",
        "30d",
        "How long answers are kept for the Idempotency-Key they were given under",
    ),
    with(
        "deepest_page",
        "ROWS",
        "100000",
        "How many rows may lie before a page of a list; walks by cursor have no end",
    ),
    with(
        "webhook_dispatch",
        "BOOL",
        "true",
        "Whether this instance sends webhooks; any number of instances share the work",
    ),
    with("webhook_concurrency", "N", "64", "Webhooks sent at once by this instance"),
    with("webhook_retention", "DURATION", "30d", "How long webhook deliveries are kept once delivered or given up"),
    with(
        "webhook_insecure",
        "BOOL",
        "false",
        "Whether webhooks may go to http:// and to private addresses: for development and tests alone",
    ),
    with("body_limit", "BYTES", "1048576", "The largest request body; batches may have four times as much"),
    with("uri_limit", "BYTES", "8192", "The longest path and query"),
    with("header_limit", "BYTES", "16384", "The largest request line and headers together"),
    with("request_deadline", "DURATION", "30s", "How long a request may take"),
    with("body_deadline", "DURATION", "10s", "How long a request body may take to arrive"),
    with("head_deadline", "DURATION", "10s", "How long the head of a request may take to arrive"),
    with("idle_deadline", "DURATION", "75s", "How long a connection may rest between two requests"),
    with("write_deadline", "DURATION", "20s", "How long a response may wait for a client that does not read it"),
    with("linger", "DURATION", "2s", "How long a client may go on sending after it was answered, before it is cut"),
    with(
        "drain_deadline",
        "DURATION",
        "25s",
        "How long requests in flight may take to finish when the service is told to stop",
    ),
    with("max_in_flight", "N", "512", "Requests handled at once; further ones are answered 503"),
    with("max_connections", "N", "16384", "Connections open at once; further ones wait"),
    without(
        "trusted_proxies",
        "LIST",
        "Proxies whose X-Forwarded-For is believed: addresses and networks by commas [default: none]",
    ),
    with("log_format", "FORMAT", "text", "text or json, on standard error"),
    with("log_level", "LEVEL", "info", "error, warn, info, debug or trace, also by module: info,custodia=debug"),
];

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Every setting, read and checked. Its `Debug` shows no secret.
pub struct Config {
    pub listen: String,
    pub ops_listen: Option<String>,
    database_url: SecretString,
    pub database_connections: u32,
    pub migrate_on_start: bool,
    pub signing_key_file: Option<PathBuf>,
    pub clock: SystemClock,
    pub token_issuer: String,
    pub token_life: Duration,
    pub login_failures: u32,
    pub rate_limit: Option<NonZeroU32>,
    pub outside: Option<OutsideIssuer>,
    pub id_block: u32,
    pub receipt_retention: Duration,
    pub deepest_page: u64,
    pub webhook_dispatch: bool,
    pub webhook_concurrency: usize,
    pub webhook_retention: Duration,
    pub webhook_insecure: bool,
    pub http: HttpLimits,
    pub server: ServerLimits,
    pub log_format: LogFormat,
    pub log_level: String,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("ops_listen", &self.ops_listen)
            .field("database_url", &self.database_url)
            .field("database_connections", &self.database_connections)
            .field("migrate_on_start", &self.migrate_on_start)
            .field("signing_key_file", &self.signing_key_file)
            .field("clock", &self.clock)
            .field("token_issuer", &self.token_issuer)
            .field("token_life", &self.token_life)
            .field("login_failures", &self.login_failures)
            .field("rate_limit", &self.rate_limit)
            .field("outside", &self.outside)
            .field("id_block", &self.id_block)
            .field("receipt_retention", &self.receipt_retention)
            .field("deepest_page", &self.deepest_page)
            .field("webhook_dispatch", &self.webhook_dispatch)
            .field("webhook_concurrency", &self.webhook_concurrency)
            .field("webhook_retention", &self.webhook_retention)
            .field("webhook_insecure", &self.webhook_insecure)
            .field("http", &self.http)
            .field("server", &self.server)
            .field("log_format", &self.log_format)
            .field("log_level", &self.log_level)
            .finish()
    }
}

/// The arguments of the command line that are settings. What the file says takes the place of a default.
pub fn arguments(file: &BTreeMap<String, String>) -> Vec<Arg> {
    let argument = |setting: &Setting| {
        let argument = Arg::new(setting.name)
            .long(setting.name.replace('_', "-"))
            .env(variable(setting.name))
            .hide_env_values(true)
            .value_name(setting.value)
            .help(setting.help)
            .help_heading("Settings")
            .global(true);
        match file.get(setting.name).cloned().or(setting.default.map(str::to_owned)) {
            // A value of the file may be a secret, and is no default of ours.
            Some(value) if file.contains_key(setting.name) => argument.default_value(value).hide_default_value(true),
            Some(value) => argument.default_value(value),
            None => argument,
        }
    };
    SETTINGS.iter().map(argument).collect()
}

fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase())
}

/// Refuses variables of the environment that look like a setting and are none: a mistyped one must not vanish.
pub fn refuse_unknown_variables(names: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    for name in names {
        let name = name.to_string_lossy();
        let mine = name.starts_with(PREFIX) && !name.starts_with(TEST_PREFIX);
        let known = SETTINGS.iter().any(|setting| name == variable(setting.name));
        ensure!(!mine || known, "unknown setting {name} in the environment; custodia --help lists them");
    }
    Ok(())
}

/// The settings of the file: the one that the command line or the environment names, or `custodia.toml` where it exists.
pub fn read_file(arguments: &[OsString]) -> anyhow::Result<BTreeMap<String, String>> {
    let named = clap::Command::new("custodia")
        .arg(Arg::new(CONFIG).long(CONFIG).env(variable(CONFIG)))
        .disable_help_flag(true)
        .ignore_errors(true)
        .try_get_matches_from(arguments)
        .ok()
        .and_then(|matches| matches.try_get_one::<String>(CONFIG).ok().flatten().cloned())
        .filter(|path| !path.is_empty());
    let path = named.clone().unwrap_or_else(|| FILE.to_owned());
    if named.is_none() && !Path::new(&path).exists() {
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_file(&text).with_context(|| format!("{path} is not usable"))
}

fn parse_file(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    // The parser's own message quotes the line, which may hold a password.
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        anyhow::anyhow!("line {line} is not TOML")
    })?;
    let mut settings = BTreeMap::new();
    for (name, value) in table {
        let known = SETTINGS.iter().any(|setting| setting.name == name && name != CONFIG);
        ensure!(known, "unknown setting {name}; custodia --help lists them");
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            _ => bail!("{name} has to be a text, a whole number, true or false"),
        };
        settings.insert(name, text);
    }
    Ok(settings)
}

impl Config {
    /// Reads and checks every setting, whichever verb needs which.
    ///
    /// # Errors
    /// A setting that cannot be what it is; it is named, and its value is not shown.
    pub fn of(matches: &ArgMatches) -> anyhow::Result<Self> {
        let given = Given(matches);
        let body_limit: usize = given.at_least("body_limit", 1_024)?;
        let mut http = HttpLimits {
            max_in_flight: given.at_least("max_in_flight", 1)?,
            request_deadline: given.duration("request_deadline")?,
            body_deadline: given.duration("body_deadline")?,
            max_uri: given.at_least("uri_limit", 256)?,
            max_header_block: given.at_least("header_limit", 1_024)?,
            ..HttpLimits::default()
        };
        for rule in &mut http.rules {
            rule.body_limit = rule.body_limit.map(|_| body_limit.saturating_mul(4));
        }
        http.body_limit = body_limit;
        let server = given.server(&http)?;
        let zone = given.text("zone").unwrap_or_default();
        let token_issuer = given.text("token_issuer").context("--token-issuer: must not be empty")?;
        Ok(Self {
            listen: given.text("listen").context("--listen: must not be empty")?,
            ops_listen: given.text("ops_listen"),
            database_url: given.text("database_url").context("--database-url: must not be empty")?.into(),
            database_connections: given.at_least("database_connections", 1)?,
            migrate_on_start: given.parsed("migrate_on_start")?,
            signing_key_file: given.text("signing_key_file").map(PathBuf::from),
            clock: SystemClock::in_zone(&zone).context("--zone")?,
            outside: given.outside(&token_issuer)?,
            token_issuer,
            token_life: given.duration("token_life")?,
            login_failures: given.parsed("login_failures")?,
            rate_limit: NonZeroU32::new(given.parsed("rate_limit")?),
            id_block: given.at_least("id_block", 1).and_then(|block: u32| {
                ensure!(block <= 10_000, "--id-block: must be at most 10000");
                Ok(block)
            })?,
            receipt_retention: given.duration("receipt_retention")?,
            deepest_page: given.parsed("deepest_page")?,
            webhook_dispatch: given.parsed("webhook_dispatch")?,
            webhook_concurrency: given.at_least("webhook_concurrency", 1)?,
            webhook_retention: given.duration("webhook_retention")?,
            webhook_insecure: given.parsed("webhook_insecure")?,
            http,
            server,
            log_format: match given.text("log_format").as_deref() {
                Some("text") => LogFormat::Text,
                Some("json") => LogFormat::Json,
                _ => bail!("--log-format: must be text or json"),
            },
            log_level: given.text("log_level").unwrap_or_default(),
        })
    }

    /// The settings where nothing is set.
    ///
    /// # Errors
    /// Never: the defaults hold.
    pub fn default() -> anyhow::Result<Self> {
        let command = clap::Command::new("custodia").args(arguments(&BTreeMap::new()));
        let command = command.mut_args(|argument| argument.env(None::<&str>));
        Self::of(&command.try_get_matches_from(["custodia"])?)
    }

    /// The database's URL, password included: not to be shown.
    #[must_use]
    pub fn database_url(&self) -> &str {
        self.database_url.expose_secret()
    }
}

/// The values as they were given; an empty one is none.
struct Given<'m>(&'m ArgMatches);

impl Given<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.0.get_one::<String>(name).filter(|text| !text.is_empty()).cloned()
    }

    fn parsed<T: FromStr>(&self, name: &str) -> anyhow::Result<T> {
        let text = self.text(name).unwrap_or_default();
        let flag = name.replace('_', "-");
        text.parse().map_err(|_| anyhow::anyhow!("--{flag}: is not what `custodia --help` asks for"))
    }

    fn at_least<T: FromStr + PartialOrd + Copy + fmt::Display>(&self, name: &str, least: T) -> anyhow::Result<T> {
        let number: T = self.parsed(name)?;
        ensure!(number >= least, "--{}: must be at least {least}", name.replace('_', "-"));
        Ok(number)
    }

    fn duration(&self, name: &str) -> anyhow::Result<Duration> {
        let text = self.text(name).unwrap_or_default();
        let flag = name.replace('_', "-");
        parse_duration(&text).with_context(|| format!("--{flag}: must be a time such as 90s, 15m, 12h or 365d"))
    }

    fn server(&self, http: &HttpLimits) -> anyhow::Result<ServerLimits> {
        let ours = ServerLimits::default();
        Ok(ServerLimits {
            max_connections: self.at_least("max_connections", 1)?,
            head_deadline: self.duration("head_deadline")?,
            idle_deadline: self.duration("idle_deadline")?,
            write_stall: self.duration("write_deadline")?,
            linger: self.duration("linger")?,
            drain_deadline: self.duration("drain_deadline")?,
            // More than what is accepted, so that what is too large is answered in the dialect's words.
            read_buffer: ours.read_buffer.max(http.max_header_block.saturating_mul(4)),
            trusted_proxies: self.text("trusted_proxies").unwrap_or_default().parse().context("--trusted-proxies")?,
        })
    }

    fn outside(&self, own: &str) -> anyhow::Result<Option<OutsideIssuer>> {
        let (name, jwks_url) = match (self.text("issuer"), self.text("jwks_url")) {
            (Some(name), Some(url)) => (name, url),
            (None, None) => {
                ensure!(self.text("audience").is_none(), "--audience: needs --issuer and --jwks-url");
                return Ok(None);
            }
            _ => bail!("--issuer and --jwks-url: one needs the other"),
        };
        ensure!(name != own, "--issuer: must differ from --token-issuer, the name of our own tokens");
        let listed = self.text("issuer_algorithms").unwrap_or_default();
        let algorithm = |name: &str| match name.trim().parse() {
            Ok(algorithm) if !name.trim().starts_with("HS") => Ok(algorithm),
            _ => bail!("--issuer-algorithms: must be a list such as RS256,ES256"),
        };
        Ok(Some(OutsideIssuer {
            name,
            jwks_url,
            audience: self.text("audience"),
            organization_claim: self.text("organization_claim").context("--organization-claim: must not be empty")?,
            algorithms: listed.split(',').map(algorithm).collect::<anyhow::Result<_>>()?,
            refresh: self.duration("jwks_refresh")?,
        }))
    }
}

/// `90s`, `15m`, `12h` or `365d`: more than nothing, at most a hundred years.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit)?;
    (1..=36_500 * 86_400).contains(&seconds).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(file: &str, flags: &[&str]) -> anyhow::Result<Config> {
        let file = parse_file(file)?;
        let command = clap::Command::new("custodia")
            .args(arguments(&file))
            .subcommand(clap::Command::new("serve"))
            .mut_args(|argument| argument.env(None::<&str>));
        Config::of(&command.try_get_matches_from([&["custodia"], flags].concat())?)
    }

    #[test]
    fn without_any_setting_the_defaults_are_those_of_the_parts() {
        let config = config("", &[]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:8080");
        assert_eq!(config.database_url(), "sqlite://custodia.db");
        assert_eq!(config.http, HttpLimits::default());
        assert_eq!(config.server, ServerLimits::default());
        assert_eq!(config.token_life, Duration::from_hours(365 * 24));
        assert_eq!((config.rate_limit, config.login_failures), (NonZeroU32::new(1_200_000), 30));
        assert!(config.outside.is_none() && config.migrate_on_start);
        assert!(config.webhook_dispatch && !config.webhook_insecure);
    }

    #[test]
    fn a_flag_wins_over_the_file_before_and_after_the_verb() {
        let file = "listen = \"127.0.0.1:1\"\nlogin_failures = 5\nmigrate_on_start = false\n";
        let from_file = config(file, &["serve"]).unwrap();
        assert_eq!((from_file.listen.as_str(), from_file.login_failures), ("127.0.0.1:1", 5));
        assert!(!from_file.migrate_on_start);
        for flags in [["--listen", "127.0.0.1:2", "serve"], ["serve", "--listen", "127.0.0.1:2"]] {
            assert_eq!(config(file, &flags).unwrap().listen, "127.0.0.1:2", "{flags:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_refused_and_named_wherever_it_stands() {
        let error = |text: &str| format!("{:#}", parse_file(text).unwrap_err());
        assert!(error("listne = \"x\"").contains("listne"));
        assert!(error("[listen]\na = 1").contains("listen"));
        assert!(error("config = \"x\"").contains("config"));
        assert_eq!(error("listen = \"a\"\ndatabase_url = secret"), "line 2 is not TOML");
        let refused = |name: &str| refuse_unknown_variables([OsString::from(name)].into_iter()).is_err();
        assert!(refused("CUSTODIA_LISTNE") && refused("CUSTODIA_"));
        assert!(!refused("CUSTODIA_LISTEN") && !refused("PATH") && !refused("CUSTODIA_TEST_POSTGRES_URL"));
        assert!(config("", &["--listne", "x"]).is_err());
    }

    #[test]
    fn a_value_that_cannot_be_is_refused_and_its_setting_named() {
        for (flag, value) in [
            ("--token-life", "365"),
            ("--token-life", "0d"),
            ("--token-life", "-1d"),
            ("--token-life", "d"),
            ("--rate-limit", "-1"),
            ("--rate-limit", "many"),
            ("--max-in-flight", "0"),
            ("--body-limit", "1"),
            ("--id-block", "10001"),
            ("--uri-limit", "10"),
            ("--header-limit", "10"),
            ("--write-deadline", "0s"),
            ("--trusted-proxies", "10.0.0.0/33"),
            ("--zone", "Mars/Olympus"),
            ("--migrate-on-start", "perhaps"),
            ("--deepest-page", "-1"),
            ("--webhook-insecure", "perhaps"),
            ("--webhook-concurrency", "0"),
            ("--log-format", "xml"),
            ("--listen", ""),
            ("--issuer", "alone"),
            ("--audience", "alone"),
        ] {
            let error = format!("{:#}", config("", &[&format!("{flag}={value}")]).unwrap_err());
            assert!(error.contains(flag), "{flag} {value}: {error}");
        }
    }

    #[test]
    fn an_outside_issuer_has_a_name_of_its_own_and_no_shared_secret() {
        let with = |more: &[&str]| config("", &[&["--issuer=https://a", "--jwks-url=https://a/jwks"], more].concat());
        let outside = with(&["--audience=custodia"]).unwrap().outside.unwrap();
        assert_eq!((outside.name.as_str(), outside.audience.as_deref()), ("https://a", Some("custodia")));
        for wrong in [
            "--token-issuer=https://a",
            "--issuer-algorithms=HS256",
            "--issuer-algorithms=none",
            "--issuer-algorithms=",
        ] {
            assert!(with(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_password_is_shown_by_debug_or_help() {
        let secret = "postgres://custodia:s3cret@db/custodia";
        let shown = config(&format!("database_url = \"{secret}\""), &[]).unwrap();
        assert_eq!(shown.database_url(), secret);
        assert!(!format!("{shown:?}").contains("s3cret"));
        let file = parse_file(&format!("database_url = \"{secret}\"")).unwrap();
        let help = clap::Command::new("custodia").args(arguments(&file)).render_long_help().to_string();
        assert!(!help.contains("s3cret"), "{help}");
    }

    #[test]
    fn help_names_every_variable_and_default() {
        let help = clap::Command::new("custodia").args(arguments(&BTreeMap::new())).render_long_help().to_string();
        for setting in SETTINGS {
            assert!(help.contains(&variable(setting.name)), "{}", setting.name);
            assert!(setting.default.is_none_or(|default| help.contains(default)), "{}", setting.name);
        }
    }
}
