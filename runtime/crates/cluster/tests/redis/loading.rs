//! Loading the library: once, next to other versions, and never over another text.

use klines_cluster::library::ViewMembers;
use klines_cluster::library::{LIBRARY, LibraryError, Loaded, call, load, source};
use redis::{RedisError, Value};

use super::server::{Server, cluster};

#[tokio::test]
async fn the_library_is_loaded_once_and_other_versions_stay() {
    let mut server = Server::bare();
    let other = source().replace(LIBRARY, "klines_v0");
    server.run::<String>(&["FUNCTION", "LOAD", &other]);
    let mut connection = server.client().get_multiplexed_async_connection().await.unwrap();
    let keys = cluster();
    let missing = call(&mut connection, &ViewMembers { keys: &keys }).await.unwrap_err();
    assert_eq!(
        missing.to_string(),
        "klines_v1_view: Redis refuses: ERR Function not found: load the functions with `klines cluster load`"
    );
    assert_eq!(load(&mut connection).await, Ok(Loaded::Now));
    assert_eq!(load(&mut connection).await, Ok(Loaded::Before));
    assert_eq!(call(&mut connection, &ViewMembers { keys: &keys }).await.unwrap().members, []);
    let listed: Value = server.run(&["FUNCTION", "LIST"]);
    assert_eq!(listed.as_sequence().unwrap().len(), 2);
    let old = redis::cmd("FCALL_RO").arg(&["klines_v0_view", "3", &keys.members, &keys.leases, &keys.meta]).clone();
    assert!(server.query(&old).is_ok());
}

#[tokio::test]
async fn nodes_that_load_at_the_same_time_all_find_it() {
    let mut server = Server::bare();
    let connect = async || server.client().get_multiplexed_async_connection().await.unwrap();
    let [mut one, mut other, mut third] = [connect().await, connect().await, connect().await];
    let loaded: [_; 3] = tokio::join!(load(&mut one), load(&mut other), load(&mut third)).into();
    assert!(loaded.iter().all(Result::is_ok), "{loaded:?}");
    assert_eq!(server.run::<Value>(&["FUNCTION", "LIST"]).as_sequence().unwrap().len(), 1);
}

#[tokio::test]
async fn another_text_of_the_same_version_is_not_replaced() {
    let mut server = Server::bare();
    server.run::<String>(&["FUNCTION", "LOAD", &format!("{}\n-- another build", source())]);
    let mut connection = server.client().get_multiplexed_async_connection().await.unwrap();
    assert_eq!(load(&mut connection).await, Err(LibraryError::Differs));
}

#[tokio::test]
async fn a_redis_that_has_gone_is_unreachable() {
    let server = Server::bare();
    let mut connection = server.client().get_multiplexed_async_connection().await.unwrap();
    drop(server);
    let error = load(&mut connection).await.unwrap_err();
    assert!(matches!(&error, LibraryError::Unreachable { function: "HELLO", .. }), "{error}");
}

#[tokio::test]
async fn a_redis_without_functions_is_refused_by_name() {
    let mut old = OldRedis;
    let error = load(&mut old).await.unwrap_err();
    assert_eq!(error.to_string(), "Redis 6.2.14 has no functions: use Redis 7.0 or later, or Valkey");
}

/// Answers `HELLO` as Redis 6.2 does.
struct OldRedis;

impl redis::aio::ConnectionLike for OldRedis {
    fn req_packed_command<'a>(&'a mut self, _: &'a redis::Cmd) -> redis::RedisFuture<'a, Value> {
        let word = |text: &str| Value::BulkString(text.into());
        let hello = Value::Array(vec![word("server"), word("redis"), word("version"), word("6.2.14")]);
        Box::pin(std::future::ready(Ok::<_, RedisError>(hello)))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _: &'a redis::Pipeline,
        _: usize,
        _: usize,
    ) -> redis::RedisFuture<'a, Vec<Value>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn get_db(&self) -> i64 {
        0
    }
}
