//! The typed client.

use bytes::Bytes;
use client::{Client, ClientBuilder, ClientConfig, RequestBuilder};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{error::QueryError, rows::Rows};

/// What an app injects: the settings of `ClickHouse`, and within them those of the client.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// How many rows one INSERT has.
    batch_rows: usize,
    http: ClientConfig,
}

/// A `ClickHouse` server.
#[derive(Clone, Debug)]
pub(crate) struct Warehouse {
    client: Client,
    batch_rows: usize,
    version: String,
    /// Whether the server recognises a batch that it has already.
    tokens: bool,
}

/// What became of a load.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) rows: usize,
    pub(crate) batches: usize,
    pub(crate) attempts: usize,
}

impl Warehouse {
    /// Asks the server who it is.
    pub(crate) async fn connect(config: Config, url: &str) -> Result<Self, QueryError> {
        let Config { batch_rows, http } = config;
        let client = ClientBuilder::from_config(http)?.base_url(url)?.build()?;
        let mut warehouse = Self {
            client,
            batch_rows: batch_rows.max(1),
            version: String::new(),
            tokens: false,
        };
        let query = "SELECT version() AS version, (SELECT count() FROM system.settings \
                     WHERE name = 'insert_deduplication_token') > 0 AS tokens";
        let mut rows = warehouse.select::<About>(query).await?;
        let about = rows.next().await.transpose()?;
        let about = about.ok_or_else(|| QueryError::Unexpected("no version".to_owned()))?;
        warehouse.version = about.version;
        warehouse.tokens = about.tokens > 0;
        Ok(warehouse)
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn knows_tokens(&self) -> bool {
        self.tokens
    }

    /// Runs a statement that has no rows. A POST, so it is not repeated once it was sent.
    pub(crate) async fn execute(&self, statement: &str) -> Result<(), QueryError> {
        let request = self.client.post("").body(statement.to_owned());
        QueryError::check(&request.fetch().await?)
    }

    /// Makes a table that recognises repeated batches, where the server can.
    pub(crate) async fn create_table(
        &self,
        table: &str,
        columns: &str,
        order_by: &str,
    ) -> Result<(), QueryError> {
        // A replicated table does it by itself.
        let settings = if self.tokens {
            " SETTINGS non_replicated_deduplication_window = 1000"
        } else {
            ""
        };
        self.execute(&format!(
            "CREATE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY {order_by}{settings}"
        ))
        .await
    }

    /// Inserts rows in batches, each with a token made of the load's name and its number.
    ///
    /// With it an INSERT may be sent again, by this client after a failure or by a whole new run:
    /// the server executes it once. On a server that knows no tokens, an INSERT is repeated only if
    /// it provably was not processed, as with any POST.
    pub(crate) async fn insert<T: Serialize>(
        &self,
        table: &str,
        load: &str,
        rows: impl IntoIterator<Item = T>,
    ) -> Result<Load, QueryError> {
        let query = format!("INSERT INTO {table} FORMAT JSONEachRow");
        let mut done = Load::default();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let mut batch = Vec::new();
            for row in rows.by_ref().take(self.batch_rows) {
                let written = serde_json::to_writer(&mut batch, &row);
                written.map_err(|error| QueryError::Unexpected(error.to_string()))?;
                batch.push(b'\n');
                done.rows += 1;
            }
            let mut request = self.client.post("").query(&[("query", &query)]);
            if self.tokens {
                let token = format!("{load}-{}", done.batches);
                request = request
                    .query(&[("insert_deduplication_token", token)])
                    .idempotent();
            }
            let response = request.body(Bytes::from(batch)).fetch().await?;
            QueryError::check(&response)?;
            done.batches += 1;
            done.attempts += response.retry_report().attempts().len();
        }
        Ok(done)
    }

    /// Runs a SELECT, and gives its rows as they come.
    ///
    /// By GET the server lets it read only, and it is repeated until the head has come.
    pub(crate) async fn select<T: DeserializeOwned>(
        &self,
        query: &str,
    ) -> Result<Rows<T>, QueryError> {
        let response = self.read(query).send().await?;
        let failed = !response.status().is_success()
            || response
                .headers()
                .contains_key("x-clickhouse-exception-code");
        if failed {
            QueryError::check(&response.collect().await?)?;
            // Only a header spoke of an error, and it was none after all.
            return Err(QueryError::Unexpected(
                "a failure without a cause".to_owned(),
            ));
        }
        Ok(Rows::new(response.lines()))
    }

    fn read(&self, query: &str) -> RequestBuilder {
        self.client.get("").query(&[
            ("query", query),
            ("default_format", "JSONEachRow"),
            // Numbers, not text, also where they have more bits than JavaScript's.
            ("output_format_json_quote_64bit_integers", "0"),
        ])
    }

    /// Waits for what is in flight.
    pub(crate) async fn close(&self) {
        self.client.close().await;
    }
}

#[derive(Deserialize)]
struct About {
    version: String,
    tokens: u8,
}
