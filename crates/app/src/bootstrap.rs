//! The first start: what an empty SQLite database gets so that a newcomer can begin, and where the signing key is. On PostgreSQL
//! nothing is made silently. It must not know how anything is served.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use custodia_adapters::tokens::{ApiKeyText, Grant, SigningKeys};
use custodia_domain::OrganizationId;
use custodia_domain::ports::{AddError, Clock as _, Scope};

use crate::config::Config;
use crate::stores::{Place, Stores};

/// What the first start shows, once.
#[derive(Debug)]
pub struct Welcome {
    organization: OrganizationId,
    token: String,
    key: ApiKeyText,
}

impl Welcome {
    /// What a newcomer needs, with a command that creates a customer as pasted.
    #[must_use]
    pub fn text(&self, address: SocketAddr) -> String {
        let base = base_url(address);
        format!(
            "Custodia's first start: organization {} `Default` with office 1 `Head Office` was made.\n\
             These credentials are shown once:\n\n\
             Bearer token: {token}\n\
             API key:      {}\n\n\
             Create a customer:\n\n\
             curl -sS -f -X POST {base}/v1/customers -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
             -d '{{\"externalId\":\"ext-ada-001\"}}'\n\n\
             The reference is at {base}/docs; `custodia --help` lists the settings and commands.\n",
            self.organization,
            self.key.expose(),
            token = self.token,
        )
    }
}

/// The URL by which this machine reaches that address.
#[must_use]
pub fn base_url(address: SocketAddr) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{address}")
}

/// The file of the signing key: the one that is configured, or beside the SQLite database.
///
/// # Errors
/// On PostgreSQL none is configured.
fn key_file(config: &Config) -> anyhow::Result<Option<PathBuf>> {
    match (&config.signing_key_file, Place::of(config.database_url())?) {
        (Some(path), _) => Ok(Some(path.clone())),
        (None, Place::Sqlite(database)) => Ok(Some(database.with_extension("signing-key.pem"))),
        (None, Place::Memory) => Ok(None),
        (None, Place::Postgres) => bail!(
            "no signing key: make one with `custodia keygen --file signing-key.pem` and name it in CUSTODIA_SIGNING_KEY_FILE"
        ),
    }
}

/// The configured signing keys.
///
/// # Errors
/// There is none, or it is not safe to use.
pub fn signing_keys(config: &Config) -> anyhow::Result<SigningKeys> {
    let Some(path) = key_file(config)? else {
        let pem = custodia_adapters::tokens::generate_key();
        return Ok(SigningKeys::from_pem(&pem, &config.token_issuer, config.token_life)?);
    };
    if !path.exists() {
        bail!(
            "there is no signing key in {0}: put it back, or make a new one with `custodia keygen --file {0}`",
            path.display()
        );
    }
    SigningKeys::read(&path, &config.token_issuer, config.token_life).with_context(|| path.display().to_string())
}

/// Refuses a start that could not end well, before anything is made or changed.
///
/// # Errors
/// On a database that is not ours to prepare, there is no usable signing key.
pub fn check(config: &Config) -> anyhow::Result<()> {
    match Place::of(config.database_url())? {
        Place::Postgres => signing_keys(config).map(drop),
        Place::Memory | Place::Sqlite(_) => Ok(()),
    }
}

/// The signing keys and, where this is the first start on a database of our own making, what to show.
///
/// # Errors
/// There is no usable signing key, or the database cannot be prepared.
pub async fn prepare(config: &Config, stores: &Stores) -> anyhow::Result<(Arc<SigningKeys>, Option<Welcome>)> {
    let place = Place::of(config.database_url())?;
    let first = place != Place::Postgres && stores.directory.organizations().await?.is_empty();
    if !first {
        return Ok((Arc::new(signing_keys(config)?), None));
    }
    if let (None, Some(path)) = (&config.signing_key_file, key_file(config)?)
        && !path.exists()
    {
        SigningKeys::create(&path).with_context(|| path.display().to_string())?;
    }
    let signing = Arc::new(signing_keys(config)?);
    let now = config.clock.now().at;
    let organization = stores.directory.add_organization("Default", now).await?;
    let key = ApiKeyText::generate();
    let added = stores.credentials.add_api_key(organization, "first start", key.hash(), Scope::Write, now).await;
    added.map_err(|error| match error {
        AddError::Store(error) => anyhow::Error::new(error),
        other @ (AddError::NoOrganization | AddError::Taken) => anyhow::Error::new(other),
    })?;
    let grant = Grant { organization, subject: "first-start".to_owned(), scope: Scope::Write };
    let token = signing.issue(&grant, now);
    Ok((signing, Some(Welcome { organization, token, key })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_means_every_one_is_reached_by_the_loopback() {
        assert_eq!(base_url("0.0.0.0:80".parse().unwrap()), "http://127.0.0.1:80");
        assert_eq!(base_url("[::]:80".parse().unwrap()), "http://127.0.0.1:80");
        assert_eq!(base_url("[::1]:80".parse().unwrap()), "http://[::1]:80");
        assert_eq!(base_url("192.0.2.1:80".parse().unwrap()), "http://192.0.2.1:80");
    }
}
