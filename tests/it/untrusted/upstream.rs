//! An upstream that answers one request with the bytes it is told, and every other with a sound answer that repeats the
//! client's word.

use super::{Way, table};
use bytes::BytesMut;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// What comes after the scripted bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection stays open and serves on, if it is asked.
    Open,
    /// It is closed.
    Fin,
    /// It stays open and nothing comes any more.
    Silence,
    /// A whole answer that nobody asked for, once the test says so.
    Late,
}

#[derive(Debug, Default)]
struct State {
    script: Option<(Vec<u8>, End)>,
    /// For each connection, how many requests came on it.
    asked: Vec<usize>,
    /// How many requests each had had when the harm was done.
    late: Option<mpsc::UnboundedSender<oneshot::Sender<()>>>,
    harmed: Option<(usize, usize)>,
}

#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upstream {
    pub(crate) async fn start(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let addr = listener.local_addr().expect("it has an address");
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, way, Arc::clone(&shared)));
            }
        });
        Self { addr, state }
    }

    /// The answer to the next request.
    pub(crate) fn script(&self, bytes: Vec<u8>, end: End) {
        lock(&self.state).script = Some((bytes, end));
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        lock(&self.state).asked.len()
    }

    /// Whether a request came on the connection of the harm after it.
    pub(crate) fn asked_again_on(&self, _: usize) -> bool {
        let state = lock(&self.state);
        state.harmed.is_some_and(|(connection, asked)| state.asked[connection] > asked)
    }

    /// Returns once what was to be said late has been said.
    pub(crate) async fn say_late(&self) {
        let late = lock(&self.state).late.take();
        if let Some(late) = late {
            let (said, heard) = oneshot::channel();
            drop(late.send(said));
            drop(heard.await);
        }
    }
}

async fn serve(mut stream: TcpStream, way: Way, state: Arc<Mutex<State>>) {
    drop(stream.set_nodelay(true));
    let number = {
        let mut state = lock(&state);
        state.asked.push(0);
        state.asked.len() - 1
    };
    let mut inbox = BytesMut::new();
    while let Some(word) = request(&mut stream, &mut inbox).await {
        let script = {
            let mut state = lock(&state);
            state.asked[number] += 1;
            let asked = state.asked[number];
            let script = state.script.take();
            if script.is_some() {
                state.harmed = Some((number, asked));
            }
            script
        };
        let Some((bytes, end)) = script else {
            drop(stream.write_all(&table::answer(way, 200, "", &word)).await);
            continue;
        };
        // A reader that has seen enough closes while the rest is still on its way.
        drop(stream.write_all(&bytes).await);
        match end {
            End::Open => {}
            End::Fin => return,
            End::Silence => {
                while matches!(stream.read_buf(&mut inbox).await, Ok(read) if read > 0) {}
                return;
            }
            End::Late => {
                let (sender, mut receiver) = mpsc::unbounded_channel::<oneshot::Sender<()>>();
                lock(&state).late = Some(sender);
                if let Some(said) = receiver.recv().await {
                    drop(stream.write_all(&table::answer(way, 200, "", "EVIL")).await);
                    said.send(()).expect("the test waits");
                }
            }
        }
    }
}

/// Reads one request whole; its word.
async fn request(stream: &mut TcpStream, inbox: &mut BytesMut) -> Option<String> {
    let head = loop {
        if let Some(end) = memchr::memmem::find(inbox, b"\r\n\r\n") {
            break inbox.split_to(end + 4);
        }
        if !matches!(stream.read_buf(inbox).await, Ok(read) if read > 0) {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&head).into_owned();
    let value = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let length: usize = value("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while inbox.len() < length {
        if !matches!(stream.read_buf(inbox).await, Ok(read) if read > 0) {
            return None;
        }
    }
    drop(inbox.split_to(length));
    value("x-word")
}
