//! How queries read: everything through here, so that everything that was read is known.

use crate::engine::Engine;
use crate::fault::Cause;
use crate::program::{Input, Inputs, Program, Query, Set};
use crate::table::{Read, short_name};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Reads for one run of one instance. What was read makes the instance run again when it changes; also that something
/// was not there.
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
/// /// The discount, for each price.
/// struct Discount;
///
/// impl Query<Shop> for Discount {
///     type Key = &'static str;
///     type Value = ();
///     const STAGE: u8 = 0;
///
///     fn run(price: &&'static str, reader: &mut Reader<'_, Shop>, made: &mut Effects<Shop>) {
///         let discount = reader.input::<Number>(&"discount");
///         made.outputs.push((*price, discount.map(|it| it.0)));
///     }
/// }
///
/// impl OfInput<Shop> for Discount {
///     fn of_input(name: &&'static str) -> Option<&'static str> {
///         (*name != "discount").then_some(*name)
///     }
/// }
///
/// let mut engine = Engine::<Shop>::new(()).of_input::<Discount>();
/// engine.edit("price of tea", Some(Arc::new(Number(10))));
/// assert_eq!(engine.settle().outputs, [("price of tea", Some(None))]);
///
/// // It was looked for and was not there. Now it is, and the query runs again.
/// engine.edit("discount", Some(Arc::new(Number(3))));
/// assert_eq!(engine.settle().outputs, [("price of tea", Some(Some(3)))]);
///
/// // The price itself was never read: its change runs nothing.
/// engine.edit("price of tea", Some(Arc::new(Number(11))));
/// engine.settle();
/// assert_eq!(engine.runs(), 0);
/// ```
pub struct Reader<'e, P: Program> {
    engine: &'e mut Engine<P>,
    stage: u8,
    reads: HashSet<Read, ahash::RandomState>,
    about: Option<P::Name>,
    fault: Option<Cause>,
}

/// What a run read, and what it did that it may not.
pub(crate) struct Finished<N> {
    pub reads: HashSet<Read, ahash::RandomState>,
    pub about: Option<N>,
    pub fault: Option<Cause>,
}

// === impl Reader ===

impl<'e, P: Program> Reader<'e, P> {
    pub(crate) fn new(engine: &'e mut Engine<P>, stage: u8) -> Self {
        Self { engine, stage, reads: HashSet::default(), about: None, fault: None }
    }

    pub(crate) fn finish(self) -> Finished<P::Name> {
        Finished { reads: self.reads, about: self.about, fault: self.fault }
    }

    /// What every query may know beside the inputs.
    pub fn settings(&self) -> Arc<P::Settings> {
        self.engine.settings().clone()
    }

    /// An input of a type; none when there is none of that name and type.
    pub fn input<I: Input<P>>(&mut self, key: &I::Key) -> Option<Arc<I>> {
        let name = I::name(key);
        self.read_input(&name);
        self.engine.inputs().get(&name).and_then(I::downcast).cloned()
    }

    /// An input of any type.
    pub fn object(&mut self, name: &P::Name) -> Option<P::Object> {
        self.read_input(name);
        self.engine.inputs().get(name).cloned()
    }

    fn read_input(&mut self, name: &P::Name) {
        let slot = self.engine.find_input(name);
        if self.reads.insert(Read::Input { slot }) && self.about.is_none() {
            self.about = Some(name.clone());
        }
    }

    /// The members of a set, in order.
    pub fn members<S: Set<P>>(&mut self, set: &S) -> Arc<BTreeSet<S::Member>> {
        let id = self.engine.find_set(set);
        self.reads.insert(id.into());
        self.engine.set_table::<S>(id.table).map(|it| it.members(id.slot)).unwrap_or_default()
    }

    /// How many members a set has.
    pub fn count<S: Set<P>>(&mut self, set: &S) -> usize {
        let id = self.engine.find_set(set);
        self.reads.insert(id.into());
        self.engine.set_table::<S>(id.table).map_or(0, |it| it.count(id.slot))
    }

    /// The value of another query's instance, which runs first if it never ran or is out of date.
    ///
    /// There is always a value. If there cannot be one (the query is not of an earlier stage, or its instance has a
    /// [`Fault`](crate::Fault)), this gives the default, and the run that asked for it does not count: nothing that follows from that
    /// default is taken over.
    pub fn get<Q: Query<P>>(&mut self, key: &Q::Key) -> Q::Value {
        if Q::STAGE >= self.stage {
            let (read, read_stage) = (short_name::<Q>(), Q::STAGE);
            return self.reject(Cause::ReadsTooEarly { stage: self.stage, read, read_stage });
        }
        let id = self.engine.find_query::<Q>(key);
        self.engine.bring_up_to_date(id);
        self.reads.insert(id.into());
        match self.engine.value_at::<Q>(id) {
            Some(value) => value,
            None => self.reject(Cause::ReadsFaulty { read: short_name::<Q>(), key: format!("{key:?}") }),
        }
    }

    fn reject<V: Default>(&mut self, cause: Cause) -> V {
        self.fault.get_or_insert(cause);
        V::default()
    }
}
