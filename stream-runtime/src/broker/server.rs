//! The server: a thread that listens, lets the state answer, and tells it the time.
//!
//! One thread and one task a connection, so the state needs no lock. All that is decided is decided in
//! [`State`]; this file moves requests in and answers out, and wakes the state at its deadlines.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, oneshot};

use super::NewTopic;
use super::api::{Request, Response};
use super::connection;
use super::state::{Answer, Caller, Now, State, Token};
use crate::clock;

/// What the handle asks of the thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Create a topic and say how it went.
    CreateTopic(NewTopic, SyncSender<crate::error::Result<()>>),
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Server {
    state: RefCell<State>,
    waiting: RefCell<HashMap<Token, oneshot::Sender<Response>>>,
    tokens: Cell<u64>,
    started: Instant,
    /// Until when the timer sleeps, and how to wake it earlier.
    sleeps_until: Cell<Option<Duration>>,
    earlier: Notify,
}

impl Server {
    pub(super) fn new(state: State, started: Instant) -> Self {
        Self {
            state: RefCell::new(state),
            waiting: RefCell::default(),
            tokens: Cell::new(0),
            started,
            sleeps_until: Cell::new(None),
            earlier: Notify::new(),
        }
    }

    /// A number that no other request has.
    pub(super) fn next_token(&self) -> Token {
        self.tokens.set(self.tokens.get() + 1);
        Token(self.tokens.get())
    }

    /// Lets the state answer; waits if it takes its time. `None`: no answer is wanted.
    pub(super) async fn answer(&self, caller: &Caller, request: Request) -> Option<Response> {
        let answer = self.state.borrow_mut().handle(now(self.started), caller, request);
        let waiter = match &answer {
            Answer::Later => {
                let (sender, receiver) = oneshot::channel();
                self.waiting.borrow_mut().insert(caller.token, sender);
                Some(receiver)
            }
            Answer::Ready(_) | Answer::Nothing => None,
        };
        // The request may have completed itself together with others.
        self.deliver();
        match (answer, waiter) {
            (Answer::Ready(response), _) => Some(response),
            (_, Some(receiver)) => receiver.await.ok(),
            (_, None) => None,
        }
    }

    /// Hands completed answers to their connections and sees to it that the timer is in time.
    fn deliver(&self) {
        let completions = self.state.borrow_mut().take_completions();
        for completion in completions {
            let waiter = self.waiting.borrow_mut().remove(&completion.token);
            // A client that is gone does not miss its answer.
            if let Some(waiter) = waiter {
                drop(waiter.send(completion.response));
            }
        }
        let next = self.state.borrow().next_deadline();
        if next.is_some_and(|next| self.sleeps_until.get().is_some_and(|until| next < until)) {
            self.earlier.notify_one();
        }
    }

    /// Calls the state at its deadlines, for ever.
    async fn keep_time(&self) {
        loop {
            self.state.borrow_mut().advance(now(self.started));
            self.deliver();
            let next = self.state.borrow().next_deadline().unwrap_or(Duration::MAX);
            self.sleeps_until.set(Some(next));
            let sleep = next
                .saturating_sub(now(self.started).elapsed)
                .min(Duration::from_secs(3600));
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                () = self.earlier.notified() => {}
            }
        }
    }

    fn obey(&self, command: Command) {
        match command {
            Command::CreateTopic(topic, reply) => {
                let result = super::create(&mut self.state.borrow_mut(), &topic, now(self.started));
                // Who asked may have given up.
                reply.send(result).ok();
            }
        }
    }
}

/// The time since the start, and of the records.
pub(super) fn now(started: Instant) -> Now {
    Now {
        elapsed: clock::now().saturating_duration_since(started),
        wall_ms: clock::wall_millis(),
    }
}

/// Serves until the handle, which holds the other end of `commands`, is dropped.
pub(super) async fn run(server: Rc<Server>, listener: TcpListener, mut commands: UnboundedReceiver<Command>) {
    let timer = Rc::clone(&server);
    tokio::task::spawn_local(async move { timer.keep_time().await });
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => server.obey(command),
                None => return,
            },
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::task::spawn_local(connection::serve(Rc::clone(&server), stream));
                }
                // Out of file descriptors, or a client that was gone at once: others are still served.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
}
