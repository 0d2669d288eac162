//! What a program that is evaluated incrementally is made of: the traits that its modules implement.

use crate::effects::Effects;
use crate::fault::Fault;
use crate::reader::Reader;
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

/// What names an instance of a query or a set. Implemented for every type that can.
pub trait Key: Clone + Eq + Hash + Debug + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + Debug + Send + Sync + 'static> Key for T {}

/// The types that all queries of a program share.
pub trait Program: Sized + 'static {
    /// What every query may know beside the inputs. It does not change as long as the engine lives.
    type Settings: Send + Sync;
    /// Names an input; unique among inputs of all types.
    type Name: Key + Ord;
    /// An input: what edits put in.
    type Object: Clone + PartialEq + Send + Sync;
    /// Where the inputs are kept.
    type Inputs: Inputs<Self::Name, Self::Object>;
    /// Names an output; unique among the outputs of all queries.
    type OutputKey: Key + Ord;
    /// An output: what the program is for. Each has one query that makes it.
    type Output: Clone + PartialEq + Send + Sync;
    /// A remark about an input, of any query: a diagnostic. An input can have many.
    type Note: Clone + Ord + Send + Sync;
    /// What a query makes beside its value, in whatever form suits the program.
    type Made: Default + Into<Effects<Self>>;

    /// What is said of a fault, and of which input. (The engine says it as long as the fault is there, in place of what the
    /// query said before.)
    fn note_of(fault: &Fault<Self::Name>) -> Option<(Self::Name, Self::Note)> {
        let _ = fault;
        None
    }
}

/// Where the objects are kept between changes.
pub trait Inputs<Name, Object>: Default + Send + Sync {
    /// The object that was inserted last under this name; none after it was removed.
    fn get(&self, name: &Name) -> Option<&Object>;
    /// Puts an input in; gives back what had the name.
    fn insert(&mut self, name: Name, object: Object) -> Option<Object>;
    /// Takes an input out.
    fn remove(&mut self, name: &Name) -> Option<Object>;
}

impl<Name, Object, S> Inputs<Name, Object> for HashMap<Name, Object, S>
where
    Name: Eq + Hash + Send + Sync,
    Object: Send + Sync,
    S: BuildHasher + Default + Send + Sync,
{
    fn get(&self, name: &Name) -> Option<&Object> {
        self.get(name)
    }

    fn insert(&mut self, name: Name, object: Object) -> Option<Object> {
        self.insert(name, object)
    }

    fn remove(&mut self, name: &Name) -> Option<Object> {
        self.remove(name)
    }
}

/// A type that some inputs have. Read with [`Reader::input`].
pub trait Input<P: Program>: Sized {
    /// What names an input of this type.
    type Key: ?Sized;

    /// The name under which [`Inputs`] has the object of a key.
    fn name(key: &Self::Key) -> P::Name;
    /// The input as this type; none when it is of another type.
    fn downcast(object: &P::Object) -> Option<&Arc<Self>>;
}

/// A query: a pure function of what it reads. One instance of it exists for each key that is needed.
///
/// An instance is needed while another one reads it, and while what it is born of is there (see [`OfInput`] and [`OfSet`]).
/// An instance that is only read has nothing but a value.
pub trait Query<P: Program>: Sized + 'static {
    /// What names an instance.
    type Key: Key;
    /// What others may read of an instance. It is compared: where it stays the same, readers do not run again. So keep out
    /// of it what they do not need, and put what is large behind an [`Arc`].
    ///
    /// The default is never seen by a run that counts: see [`Reader::get`].
    type Value: Clone + PartialEq + Default + Send + Sync;

    /// A query reads only queries of earlier stages, so there are no cycles. In the usual case an instance runs once
    /// after an edit, because all earlier stages are done when it runs.
    const STAGE: u8;

    /// Does the work. Everything that it looks at must come from `key` and `reader`: what it looked up elsewhere could change
    /// without its being run again.
    fn run(key: &Self::Key, reader: &mut Reader<'_, P>, made: &mut P::Made) -> Self::Value;
}

/// A query of which an input brings an instance into being, for as long as it is there. Registered with
/// [`Engine::of_input`](crate::Engine::of_input).
pub trait OfInput<P: Program>: Query<P> {
    /// The instance for an input; none when inputs of its kind have none.
    fn of_input(name: &P::Name) -> Option<Self::Key>;
}

/// A query of which a set brings an instance into being, for as long as it has members. Registered with
/// [`Engine::of_set`](crate::Engine::of_set).
pub trait OfSet<P: Program>: Query<P> {
    /// The sets that bring instances into being, each at most one.
    type Set: Set<P>;
    /// As many members there must be.
    const LEAST: usize = 1;

    /// The instance for a set; none when this one has none.
    fn of_set(set: &Self::Set) -> Option<Self::Key>;
}

/// A question whose answer is a set: "the pods at an address". The type names the question, a value of it one set.
///
/// Inputs put themselves into sets ([`Set::of_input`]), and queries put names of inputs into sets (through
/// [`Memberships`](crate::Memberships)). A member that several have put into a set stays until the last of them takes it out.
///
/// Sets have no stage. What decides whether a query puts something into a set must not depend on that set: such a program
/// might not settle ([`Cause::Unsettled`](crate::Cause::Unsettled)).
///
/// ```
/// # use fairway_incremental::{Effects, Engine, Input, OfInput, Program, Query, Reader, Set};
/// # use std::collections::HashMap;
/// # use std::sync::Arc;
/// # struct Shop;
/// # impl Program for Shop {
/// #     type Settings = ();
/// #     type Name = &'static str;
/// #     type Object = Arc<Number>;
/// #     type Inputs = HashMap<&'static str, Arc<Number>>;
/// #     type OutputKey = &'static str;
/// #     type Output = Option<u32>;
/// #     type Note = String;
/// #     type Made = Effects<Shop>;
/// # }
/// # #[derive(PartialEq)]
/// # struct Number(u32);
/// # impl Input<Shop> for Number {
/// #     type Key = &'static str;
/// #     fn name(key: &&'static str) -> &'static str {
/// #         key
/// #     }
/// #     fn downcast(object: &Arc<Number>) -> Option<&Arc<Number>> {
/// #         Some(object)
/// #     }
/// # }
/// /// The numbers that inputs have.
/// #[derive(Clone, Debug, PartialEq, Eq, Hash)]
/// struct Numbers;
///
/// impl Set<Shop> for Numbers {
///     type Member = u32;
///
///     fn of_input(_: &&'static str, number: &Arc<Number>) -> Vec<(Self, u32)> {
///         vec![(Self, number.0)]
///     }
/// }
///
/// let mut engine = Engine::<Shop>::new(()).set::<Numbers>();
/// engine.edit("tea", Some(Arc::new(Number(3))));
/// engine.edit("coffee", Some(Arc::new(Number(3))));
/// engine.settle();
/// assert_eq!(engine.members(&Numbers).len(), 1);
///
/// engine.edit("tea", None);
/// engine.settle();
/// assert!(engine.members(&Numbers).contains(&3), "the coffee has put it in as well");
///
/// engine.edit("coffee", None);
/// engine.settle();
/// assert!(engine.members(&Numbers).is_empty());
/// ```
pub trait Set<P: Program>: Key {
    /// What is in such a set.
    type Member: Key + Ord;

    /// The sets in which an input stands by itself. Used if the set is registered with
    /// [`Engine::set`](crate::Engine::set).
    fn of_input(name: &P::Name, object: &P::Object) -> Vec<(Self, Self::Member)> {
        let _ = (name, object);
        Vec::new()
    }
}
