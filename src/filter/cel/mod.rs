//! The dialect `cel`: one expression of the Common Expression Language (<https://cel.dev>) on one event.
//!
//! What an expression may cost is bounded: its length and nesting before it is compiled, the data that it sees ([`MAX_DATA`]), the macros that
//! it may use (`has all exists exists_one`), and the rounds of these by a budget (`budget`). The outcome depends on expression and event
//! alone, never on time, so that an event that is routed again meets the same answer.

mod budget;
mod check;
mod value;

pub use value::Values;

use cel::common::ast::IdedExpr;
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, ParseErrors, Value};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

/// Longest expression, characters.
pub const MAX_LENGTH: usize = 2048;
/// Data larger than this, bytes, are not looked at: `event.data` is not there. What every intermediary must forward (CloudEvents 1.0.2).
pub const MAX_DATA: usize = 64 << 10;
/// Deepest nesting of brackets.
const MAX_BRACKETS: usize = 24;
/// An expression is parsed on a stack of its own, bytes: the parser is recursive.
const STACK: usize = 16 << 20;

/// A compiled expression.
pub struct Expression {
    root: IdedExpr,
    wants_data: bool,
}

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the expression cannot be used (line {line}, column {column}): {message}")]
pub struct Invalid {
    /// Line of the mistake, from 1.
    pub line: usize,
    /// Column of the mistake, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Why an expression had no answer for an event, as one word. What the event held is never told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An attribute or a member of the data is not there.
    NoSuchKey,
    /// An operator or a function does not take values of these types.
    WrongType,
    /// The answer is neither true nor false.
    NotBoolean,
    /// Its macros would take too many rounds.
    TooExpensive,
    /// Anything else: division by zero, an overflow, an index that is not there.
    Other,
    /// A defect of the library.
    Panic,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expression")
    }
}

/// The standard functions, and what takes its share of the budget.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(false);
    budget::declare(&mut env);
    Arc::new(env)
});

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Too long or nested too deeply, a mistake of syntax, a name or a function that is not there; with the place.
    pub fn compile(text: &str) -> Result<Expression, Invalid> {
        bound(text)?;
        let owned = text.to_owned();
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || parse(&owned));
        let unreadable = || Invalid::at((1, 1), "it cannot be read");
        thread.map_err(|error| Invalid::at((1, 1), format!("it cannot be compiled now: {error}")))?.join().map_err(|_| unreadable())?
    }

    /// Whether it looks at the data of events.
    pub fn wants_data(&self) -> bool {
        self.wants_data
    }

    /// Whether it is true for an event.
    ///
    /// # Errors
    /// It has no answer: whoever asks takes that as no.
    pub fn evaluate(&self, values: &Values) -> Result<bool, Failure> {
        budget::begin(values.weight());
        let evaluate = || {
            let mut context = Context::with_env(Arc::clone(&ENV));
            context.set_variable_resolver(values);
            Value::resolve(&self.root, &context)
        };
        match catch_unwind(AssertUnwindSafe(evaluate)) {
            _ if budget::is_spent() => Err(Failure::TooExpensive),
            Ok(Ok(Value::Bool(answer))) => Ok(answer),
            Ok(Ok(_)) => Err(Failure::NotBoolean),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(Failure::Panic),
        }
    }
}

impl VariableResolver for Values {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        (variable == check::EVENT).then(|| self.event())
    }
}

fn failure(error: &ExecutionError) -> Failure {
    match error {
        ExecutionError::NoSuchKey(_) => Failure::NoSuchKey,
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedTargetType { .. }
        | ExecutionError::UnsupportedKeyType(_)
        | ExecutionError::UnsupportedIndex(..)
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::ValuesNotComparable(..) => Failure::WrongType,
        _ => Failure::Other,
    }
}

impl Invalid {
    fn at((line, column): (usize, usize), message: impl Into<String>) -> Invalid {
        Invalid { line, column, message: message.into() }
    }
}

/// Line and column of a character.
fn place(text: &str, character: usize) -> (usize, usize) {
    let before: String = text.chars().take(character).collect();
    (before.matches('\n').count() + 1, before.chars().rev().take_while(|c| *c != '\n').count() + 1)
}

/// Length and nesting, before anything recursive sees the text. Brackets in strings count too: it is a bound, not a grammar.
fn bound(text: &str) -> Result<(), Invalid> {
    let mut depth = 0_usize;
    for (index, character) in text.chars().enumerate() {
        if index == MAX_LENGTH {
            return Err(Invalid::at(place(text, index), format!("it is longer than {MAX_LENGTH} characters")));
        }
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_BRACKETS {
            return Err(Invalid::at(place(text, index), format!("its brackets are nested deeper than {MAX_BRACKETS}")));
        }
    }
    Ok(())
}

fn parse(text: &str) -> Result<Expression, Invalid> {
    let program = ENV.compile(text).map_err(|errors| first(&errors))?;
    let at = |id: u64| place(text, program.source_info().offset_for(id).map_or(0, |(start, _)| start as usize));
    let mut root = program.expression().clone();
    let wants_data = check::check(&mut root).map_err(|found| Invalid::at(at(found.id), found.message))?;
    Ok(Expression { root, wants_data })
}

/// The first mistake of syntax.
fn first(ParseErrors { errors }: &ParseErrors) -> Invalid {
    let Some(error) = errors.first() else { return Invalid::at((1, 1), "it cannot be read") };
    let number = |at: isize| usize::try_from(at).unwrap_or(1).max(1);
    if error.msg.contains("ecursion limit") {
        return Invalid::at((1, 1), "it is nested too deeply: split it into several filters");
    }
    let message: String = error.msg.chars().take(200).collect();
    Invalid::at((number(error.pos.0), number(error.pos.1)), message)
}

#[cfg(test)]
mod tests;
