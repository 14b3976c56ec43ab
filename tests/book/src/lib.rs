//! The code of the guide in `docs/book`, held to compile and, where it needs no other server, to run.
//!
//! Each chapter documents an item that is there for `cargo test` alone; the test
//! `the_code_of_every_chapter_is_compiled` fails where one is missing.

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/README.md")]
struct Introduction;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/start.md")]
struct Start;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/defaults.md")]
struct Defaults;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/choosing.md")]
struct Choosing;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/symptoms.md")]
struct Symptoms;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/strategies/retries.md")]
struct StrategiesRetries;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/strategies/budgets.md")]
struct StrategiesBudgets;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/strategies/breaker.md")]
struct StrategiesBreaker;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/strategies/hedging.md")]
struct StrategiesHedging;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/strategies/pause.md")]
struct StrategiesPause;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/strategies/hints.md")]
struct StrategiesHints;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/strategies/timeouts.md")]
struct StrategiesTimeouts;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/strategies/pool.md")]
struct StrategiesPool;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/strategies/connecting.md")]
struct StrategiesConnecting;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/strategies/redirects.md")]
struct StrategiesRedirects;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/strategies/authentication.md")]
struct StrategiesAuthentication;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/strategies/cookies.md")]
struct StrategiesCookies;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/strategies/absent.md")]
struct StrategiesAbsent;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/cookbook/axum.md")]
struct CookbookAxum;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/cookbook/settings.md")]
struct CookbookSettings;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/cookbook/clickhouse.md")]
struct CookbookClickhouse;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/cookbook/llm.md")]
struct CookbookLlm;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/cookbook/grpc.md")]
struct CookbookGrpc;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/cookbook/webhooks.md")]
struct CookbookWebhooks;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/cookbook/downloads.md")]
struct CookbookDownloads;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/cookbook/events.md")]
struct CookbookEvents;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/cookbook/gateway.md")]
struct CookbookGateway;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/cookbook/kubernetes.md")]
struct CookbookKubernetes;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/cookbook/mesh.md")]
struct CookbookMesh;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/cookbook/company.md")]
struct CookbookCompany;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/testing.md")]
struct Testing;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/checking.md")]
struct Checking;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/telemetry.md")]
struct Telemetry;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/security.md")]
struct Security;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/migrating/aiohttp.md")]
struct MigratingAiohttp;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/migrating/reqwest.md")]
struct MigratingReqwest;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/src/migrating/tower.md")]
struct MigratingTower;
