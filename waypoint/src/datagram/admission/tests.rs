//! Who is admitted and who goes, against a list that is searched from its beginning.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::SocketAddr;

/// Sessions of a socket, oldest first.
struct Socket {
    admission: Admission,
    sessions: Vec<Open>,
    opened: u64,
    given_up: HashMap<IpAddr, usize>,
    limit: usize,
}

struct Open {
    id: SessionId,
    talk: Talk,
    _admitted: Admitted,
}

/// What came of a new client.
#[derive(Debug, PartialEq)]
enum Outcome {
    Admitted,
    /// In the place of the session of this number.
    Displaces(u64),
    Full,
}

use Outcome::{Displaces, Full};

// === impl Socket ===

impl Socket {
    fn new(limit: usize) -> Self {
        let admission = Admission::new(Rc::default(), Shares::default(), limit);
        Self { admission, sessions: Vec::new(), opened: 0, given_up: HashMap::default(), limit }
    }

    fn of(&self, client: IpAddr) -> impl Iterator<Item = &Open> {
        self.sessions.iter().filter(move |it| it.id.key.client.ip() == client)
    }

    fn share(&self) -> usize {
        (self.limit / 16).max(1)
    }

    fn is_over(&self, client: IpAddr) -> bool {
        self.sessions.len() > self.limit / 2 && self.of(client).count() >= self.share()
    }

    /// What has to come of a new client.
    fn expected(&self, client: IpAddr) -> Outcome {
        let may_give_up = self.given_up.get(&client).is_none_or(|it| *it < self.share());
        let displaced = if self.is_over(client) {
            let may_go = |it: &&Open| it.talk == Talk::Answered || (it.talk == Talk::Asked && may_give_up);
            self.of(client).find(may_go)
        } else if self.sessions.len() < self.limit {
            return Outcome::Admitted;
        } else {
            self.sessions.iter().find(|it| it.talk != Talk::Assured)
        };
        displaced.map_or(Full, |it| Displaces(it.id.number))
    }

    fn ask(&mut self, client: IpAddr) -> Outcome {
        let is_over = self.is_over(client);
        let Some((admitted, displaced)) = self.admission.admit(client) else { return Full };
        if let Some(displaced) = displaced {
            let index = self.sessions.iter().position(|it| it.id == displaced).unwrap();
            let talk = self.sessions.remove(index).talk;
            if is_over && talk == Talk::Asked {
                *self.given_up.entry(client).or_default() += 1;
            }
        }
        let port = u16::try_from(self.opened % 60_000).unwrap();
        let key = ClientKey { client: SocketAddr::new(client, port), local: None };
        let id = SessionId { number: self.opened, key };
        self.opened += 1;
        self.admission.advance(&id, Talk::Asked);
        self.sessions.push(Open { id, talk: Talk::Asked, _admitted: admitted });
        displaced.map_or(Outcome::Admitted, |it| Displaces(it.number))
    }

    /// The talk of a session goes on.
    fn advance(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        session.talk = match session.talk {
            Talk::Asked => Talk::Answered,
            Talk::Answered | Talk::Assured => Talk::Assured,
        };
        self.admission.advance(&session.id, session.talk);
    }

    fn end(&mut self, index: usize) {
        if index < self.sessions.len() {
            let ended = self.sessions.remove(index);
            self.admission.leave(&ended.id);
        }
    }

    fn begin_second(&mut self) {
        self.admission.begin_second();
        self.given_up.clear();
    }
}

fn ip(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

#[test]
fn who_is_over_its_share_gives_up_its_own_oldest_session_that_may_go() {
    use Talk::{Answered, Asked, Assured};
    // At a limit of 32 the share is two, and two unanswered ones may go in a second.
    for (given_up, talks, expected) in [
        (0, [Asked, Asked, Asked], Displaces(0)),
        (0, [Asked, Answered, Asked], Displaces(0)),
        (0, [Assured, Asked, Answered], Displaces(1)),
        (0, [Assured, Assured, Assured], Full),
        (2, [Asked, Asked, Answered], Displaces(2)),
        (2, [Asked, Answered, Answered], Displaces(1)),
        (2, [Answered, Asked, Answered], Displaces(0)),
        (2, [Assured, Asked, Answered], Displaces(2)),
        (2, [Asked, Asked, Asked], Full),
        (2, [Asked, Assured, Asked], Full),
    ] {
        let mut socket = Socket::new(32);
        for _ in 0..talks.len() {
            assert_eq!(socket.ask(ip(1)), Outcome::Admitted);
        }
        for other in 2..16 {
            assert_eq!(socket.ask(ip(other)), Outcome::Admitted);
        }
        for (index, talk) in talks.into_iter().enumerate() {
            socket.sessions[index].talk = talk;
            socket.admission.advance(&socket.sessions[index].id, talk);
        }
        socket.admission.by_subscriber.get_mut(&ip(1)).unwrap().given_up = given_up;
        assert_eq!(socket.ask(ip(1)), expected, "{given_up} {talks:?}");
    }
}

#[test]
fn nothing_is_remembered_of_who_has_gone() {
    let mut socket = Socket::new(4);
    for number in 0..100 {
        socket.ask(ip(number));
        socket.advance(0);
    }
    assert_eq!(
        socket.admission.displaceable.len(),
        socket.sessions.iter().filter(|it| it.talk != Talk::Assured).count()
    );
    while !socket.sessions.is_empty() {
        socket.end(0);
    }
    socket.begin_second();
    assert!(socket.admission.displaceable.is_empty() && socket.admission.by_subscriber.is_empty());
    assert_eq!(socket.admission.open.get(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Ask(u8),
    Advance(usize),
    End(usize),
    Second,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop_oneof![Just(1_u8), 1..6_u8, any::<u8>()].prop_map(Step::Ask),
        4 => (0..64_usize).prop_map(Step::Advance),
        1 => (0..64_usize).prop_map(Step::End),
        1 => Just(Step::Second),
    ]
}

proptest! {
    /// Whatever happens: never more sessions than the limit; an address that is over its share gets no further one, takes nothing from
    /// another address, and is told that it is full only if it has nothing to give up.
    #[test]
    fn whoever_comes_the_one_goes_that_has_to(limit in 1..80_usize, steps in vec(step(), 1..400)) {
        let mut socket = Socket::new(limit);
        for step in steps {
            match step {
                Step::Ask(number) => {
                    let (client, expected) = (ip(number), socket.expected(ip(number)));
                    let (had, is_over) = (socket.of(client).count(), socket.is_over(client));
                    prop_assert_eq!(socket.ask(client), expected);
                    prop_assert!(!is_over || socket.of(client).count() == had);
                }
                Step::Advance(index) => socket.advance(index),
                Step::End(index) => socket.end(index),
                Step::Second => socket.begin_second(),
            }
            prop_assert!(socket.sessions.len() <= limit);
            prop_assert_eq!(socket.admission.open.get(), socket.sessions.len());
        }
    }
}
