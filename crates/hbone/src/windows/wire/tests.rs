use super::*;
use proptest::prelude::*;
use std::task::Waker;

/// Takes as much as it is told to, and now and then nothing.
struct Peer {
    heard: Vec<u8>,
    takes: Vec<usize>,
    at: usize,
}

impl AsyncWrite for Peer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let takes = self.takes[self.at % self.takes.len()];
        self.at += 1;
        if takes == 0 {
            return Poll::Pending;
        }
        let all: Vec<u8> = slices.iter().flat_map(|it| it.iter().copied()).take(takes).collect();
        self.heard.extend_from_slice(&all);
        Poll::Ready(Ok(all.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// The stream of our own updates, so that they are told from h2's.
const OURS: u32 = 1001;

impl Frame {
    fn new(kind: u8, flags: u8, stream: u32, payload: Vec<u8>) -> Self {
        Self { kind, flags, stream, payload }
    }

    fn settings(window: u32) -> Self {
        let mut payload = vec![0, 3, 0, 0, 0, 200, 0, 4];
        payload.extend_from_slice(&window.to_be_bytes());
        Self::new(SETTINGS, 0, 0, payload)
    }

    fn update(stream: u32, bytes: u32) -> Self {
        Self::new(WINDOW_UPDATE, 0, stream, bytes.to_be_bytes().to_vec())
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&u32::try_from(self.payload.len()).unwrap().to_be_bytes()[1..]);
        to.extend_from_slice(&[self.kind, self.flags]);
        to.extend_from_slice(&self.stream.to_be_bytes());
        to.extend_from_slice(&self.payload);
    }

    fn read_all(mut bytes: &[u8]) -> Vec<Self> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (length, _) = head_of(bytes).expect("a whole head");
            let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap());
            frames.push(Self::new(bytes[3], bytes[4], stream, bytes[HEAD..HEAD + length].to_vec()));
            bytes = &bytes[HEAD + length..];
        }
        frames
    }
}

fn any_frames() -> impl Strategy<Value = Vec<Frame>> {
    let payload = || prop::collection::vec(any::<u8>(), 0..40);
    let one = prop_oneof![
        payload().prop_map(|it| vec![Frame::new(0, 0, 1, it)]),
        payload().prop_map(|it| vec![Frame::new(HEADERS, END_HEADERS, 3, it)]),
        (payload(), payload(), payload()).prop_map(|(a, b, c)| vec![
            Frame::new(HEADERS, 0, 5, a),
            Frame::new(CONTINUATION, 0, 5, b),
            Frame::new(CONTINUATION, END_HEADERS, 5, c),
        ]),
        Just(vec![Frame::new(SETTINGS, ACK, 0, vec![])]),
        Just(vec![Frame::settings(UNLIMITED)]),
        (1..9_u32).prop_map(|it| vec![Frame::update(it, 77)]),
        Just(vec![Frame::update(0, 1 << 20)]),
        Just(vec![Frame::new(6, 0, 0, vec![1; 8])]),
    ];
    prop::collection::vec(one, 0..20).prop_map(|it| it.concat())
}

proptest! {
    #[test]
    fn all_frames_pass_as_they_are_but_those_that_tell_of_stream_windows(
        frames in any_frames(),
        is_client in any::<bool>(),
        takes in prop::collection::vec(0..30_usize, 1..8),
        parts in prop::collection::vec((1..50_usize, 0..50_usize, any::<bool>()), 1..8),
    ) {
        prop_assume!(takes.iter().any(|it| *it > 0));
        let updates = Updates::default();
        let peer = Peer { heard: Vec::new(), takes, at: 0 };
        let role = if is_client { Role::Client } else { Role::Server };
        let mut wire = Wire::new(peer, role, updates.clone());
        let preface: &[u8] = if is_client { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" } else { b"" };
        let mut said = preface.to_vec();
        frames.iter().for_each(|it| it.write(&mut said));

        let cx = &mut Context::from_waker(Waker::noop());
        let (mut rest, mut pushed) = (&said[..], 0);
        let mut parts = parts.iter().cycle();
        while !rest.is_empty() {
            let &(first, second, pushes) = parts.next().unwrap();
            let first = first.min(rest.len());
            let second = second.min(rest.len() - first);
            let slices = [IoSlice::new(&rest[..first]), IoSlice::new(&rest[first..first + second])];
            if let Poll::Ready(written) = Pin::new(&mut wire).poll_write_vectored(cx, &slices) {
                let written = written.unwrap();
                prop_assert!(written > 0 && written <= first + second);
                rest = &rest[written..];
            }
            // Only once the preface and the settings are written: before, there are no streams.
            if pushes && pushed < 60 && rest.len() < said.len() - preface.len() {
                updates.push(OURS, 3);
                pushed += 3;
                let _ = Pin::new(&mut wire).poll_flush(cx);
            }
        }
        while Pin::new(&mut wire).poll_flush(cx).is_pending() {}

        let heard = wire.io.heard.strip_prefix(preface).expect("the preface first");
        let heard = Frame::read_all(heard);
        let ours = |it: &Frame| it.kind == WINDOW_UPDATE && it.stream == OURS;
        let told: u32 =
            heard.iter().filter(|it| ours(it)).map(|it| u32::from_be_bytes(it.payload[..].try_into().unwrap())).sum();
        prop_assert_eq!(told, pushed);
        for pair in heard.windows(2) {
            let is_open = matches!(pair[0].kind, HEADERS | CONTINUATION) && pair[0].flags & END_HEADERS == 0;
            prop_assert!(!is_open || pair[1].kind == CONTINUATION, "{:?}", pair);
        }
        let passed: Vec<Frame> = heard.into_iter().filter(|it| !ours(it)).collect();
        let expected: Vec<Frame> = frames
            .into_iter()
            .filter(|it| it.kind != WINDOW_UPDATE || it.stream == 0)
            .map(|it| if it == Frame::settings(UNLIMITED) { Frame::settings(BASE) } else { it })
            .collect();
        prop_assert_eq!(passed, expected);
    }
}

#[test]
fn frames_that_concern_no_window_go_out_in_one_write() {
    let peer = Peer { heard: Vec::new(), takes: vec![usize::MAX], at: 0 };
    let mut wire = Wire::new(peer, Role::Server, Updates::default());
    let mut said = Vec::new();
    for _ in 0..3 {
        Frame::new(0, 0, 1, vec![7; 1000]).write(&mut said);
    }
    let slices = [IoSlice::new(&said[..700]), IoSlice::new(&said[700..])];
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(matches!(
        Pin::new(&mut wire).poll_write_vectored(cx, &slices),
        Poll::Ready(Ok(written)) if written == said.len()
    ));
    assert_eq!(wire.io.at, 1);
}
