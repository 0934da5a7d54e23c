//! The scripts: one a file, each atomic, each checking before it changes anything.
//!
//! Every script begins with `#!lua`: such a script is refused as a whole when Redis is full, while a classic one would be stopped half-way
//! or not at all. Those that free memory or keep order carry `allow-oom`: a full Redis must not stop draining.

use super::connection::{Error, Link};
use super::keys;
use redis::{Cmd, ToRedisArgs, Value};

macro_rules! scripts {
    ($($name:ident = $flags:literal [$($library:literal)*] $file:literal),* $(,)?) => {
        /// One of the scripts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Script { $(#[doc = concat!("`scripts/", $file, "`")] $name),* }

        /// Every script, in the order of the enum.
        pub(super) const ALL: &[(&str, &str)] = &[
            $(($file, concat!("#!lua", $flags, "\n", include_str!("scripts/common.lua"), $(include_str!(concat!("scripts/", $library)),)*
                include_str!(concat!("scripts/", $file))))),*
        ];
    };
}

scripts! {
    Hello = " flags=allow-oom" [] "hello.lua",
    Append = "" ["log.lua"] "append.lua",
    Create = "" [] "create.lua",
    Update = " flags=allow-oom" [] "update.lua",
    Delete = " flags=allow-oom" [] "delete.lua",
    Load = " flags=allow-oom,no-writes" [] "load.lua",
    Scan = " flags=allow-oom,no-writes" [] "scan.lua",
    Oldest = " flags=allow-oom,no-writes" [] "oldest.lua",
    Sizes = " flags=allow-oom,no-writes" [] "sizes.lua",
    Route = "" ["put.lua"] "route.lua",
    RouteFull = " flags=allow-oom" ["put.lua"] "route.lua",
    Fill = "" ["put.lua"] "fill.lua",
    FillFull = " flags=allow-oom" ["put.lua"] "fill.lua",
    FillDrop = " flags=allow-oom" ["put.lua"] "fill_drop.lua",
    Detach = " flags=allow-oom" [] "detach.lua",
    Trim = " flags=allow-oom" [] "trim.lua",
    Expire = " flags=allow-oom" [] "expire.lua",
    LeaseRouter = " flags=allow-oom" [] "lease_router.lua",
    Lease = " flags=allow-oom" [] "lease.lua",
    Renew = " flags=allow-oom" [] "renew.lua",
    Release = " flags=allow-oom" [] "release.lua",
    Read = " flags=allow-oom" [] "read.lua",
    Fetch = " flags=allow-oom" [] "fetch.lua",
    Begin = " flags=allow-oom" [] "begin.lua",
    Fail = " flags=allow-oom" [] "fail.lua",
    Abort = " flags=allow-oom" [] "abort.lua",
    Reset = " flags=allow-oom" [] "reset.lua",
    Settle = " flags=allow-oom" [] "settle.lua",
    Bury = " flags=allow-oom" ["log.lua"] "bury.lua",
    Halt = " flags=allow-oom" [] "halt.lua",
    Unhalt = " flags=allow-oom" [] "unhalt.lua",
    Report = " flags=allow-oom" [] "report.lua",
    Ask = " flags=allow-oom" [] "ask.lua",
    Status = " flags=allow-oom,no-writes" [] "status.lua",
    Overview = " flags=allow-oom,no-writes" [] "overview.lua",
    Consumers = " flags=allow-oom,no-writes" [] "consumers.lua",
    Letters = " flags=allow-oom,no-writes" [] "letters.lua",
    Redrive = "" ["log.lua"] "redrive.lua",
    Purge = " flags=allow-oom" [] "purge.lua",
}

/// A call of a script under construction.
pub(super) struct Call<'a> {
    link: &'a Link,
    script: Script,
    command: Cmd,
}

impl Link {
    /// Begins a call of a script on one bus.
    pub(super) fn script(&self, script: Script, bus: &str) -> Call<'_> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.sha(script)).arg(1).arg(keys::cursor(bus));
        Call { link: self, script, command }
    }
}

impl Call<'_> {
    /// Adds an argument.
    pub(super) fn arg(mut self, value: impl ToRedisArgs) -> Self {
        self.command.arg(value);
        self
    }

    /// Adds arguments by reference.
    pub(super) fn push(&mut self, value: impl ToRedisArgs) {
        self.command.arg(value);
    }

    /// Sends the call and awaits its bare answer.
    pub(super) async fn value(self) -> Result<Value, Error> {
        self.link.send(&self.command).await
    }

    /// Sends the call and awaits its answer: a status word and values.
    pub(super) async fn run(self) -> Result<Answer, Error> {
        let value = self.link.send(&self.command).await?;
        Answer::new(self.script, value)
    }
}

/// What a script answered: a status word and values.
#[derive(Debug)]
pub(super) struct Answer {
    script: Script,
    values: std::vec::IntoIter<Value>,
}

impl Answer {
    fn new(script: Script, value: Value) -> Result<Answer, Error> {
        match value {
            Value::Array(values) => Ok(Answer { script, values: values.into_iter() }),
            other => Err(Error::Protocol(format!("script {script:?} answered {other:?}"))),
        }
    }

    fn wrong(&self, wanted: &str, got: &Option<Value>) -> Error {
        Error::Protocol(format!("script {:?} answered {got:?} where {wanted} was expected", self.script))
    }

    /// The next value.
    pub(super) fn value(&mut self) -> Option<Value> {
        self.values.next()
    }

    /// The next value as text; the status word is the first.
    pub(super) fn text(&mut self) -> Result<String, Error> {
        let value = self.values.next();
        value.as_ref().and_then(text).ok_or_else(|| self.wrong("text", &value))
    }

    /// The next value as text that may be damaged.
    pub(super) fn lossy_text(&mut self) -> Result<String, Error> {
        match self.values.next() {
            Some(Value::BulkString(bytes)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            other => Err(self.wrong("text", &other)),
        }
    }

    /// The next value as text, if there is one.
    pub(super) fn maybe_text(&mut self) -> Result<Option<String>, Error> {
        match self.values.len() {
            0 => Ok(None),
            _ => self.text().map(Some),
        }
    }

    /// The next value as a number or an ID.
    pub(super) fn parse<T: std::str::FromStr>(&mut self) -> Result<T, Error> {
        let text = self.text()?;
        text.parse().map_err(|_| Error::Protocol(format!("script {:?} answered {text:?} where a number was expected", self.script)))
    }

    /// The next value as a list.
    pub(super) fn list(&mut self) -> Result<Vec<Value>, Error> {
        match self.values.next() {
            Some(Value::Array(values)) => Ok(values),
            other => Err(self.wrong("a list", &other)),
        }
    }

    /// An answer whose status word nobody expects here.
    pub(super) fn unexpected(&self, status: &str) -> Error {
        Error::Protocol(format!("script {:?} answered {status}", self.script))
    }
}

/// A value as text: bulk, simple and whole numbers alike.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Okay => Some("OK".to_owned()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A flat list of fields and values as pairs of text; what is not text is left out.
pub(super) fn pairs(values: &[Value]) -> std::collections::HashMap<String, String> {
    values.as_chunks::<2>().0.iter().filter_map(|[field, value]| Some((text(field)?, text(value)?))).collect()
}
