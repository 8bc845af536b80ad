//! The way of owners to their clients.
//!
//! Not here: what happens between clients and the broker ([`super`]).

use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Client, ClientId, Member, Net, Network, Process};
use crate::cluster::crash;

/// A network that is shared by the clients and the driver of a test. All of them live on one thread; the ports of clients
/// are `Send` nevertheless, and so this is locked.
#[derive(Clone)]
pub(crate) struct SharedNetwork(Arc<Mutex<Network>>);

impl SharedNetwork {
    pub(crate) fn new(network: Network) -> Self {
        Self(Arc::new(Mutex::new(network)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Network> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass in small steps until `done`, or until the end. True when it is done.
    ///
    /// For calls that block: while they do, nobody else makes time pass.
    pub(crate) fn pass_until(&self, end: Duration, mut done: impl FnMut() -> bool) -> bool {
        loop {
            if done() {
                return true;
            }
            let mut network = self.lock();
            let now = network.elapsed;
            if now >= end {
                return false;
            }
            let next = network.next_event().unwrap_or(end);
            network.run_until(next.clamp(now, end));
        }
    }

    /// Adds a client of a process and gives the way to it.
    pub(crate) fn connect<C: Client>(&self, process: Process, name: &str, client: C) -> Port<C> {
        let mut network = self.lock();
        network.next += 1;
        let id = ClientId(network.next);
        let member = Member {
            process,
            name: name.to_owned(),
            client: Some(Box::new(client)),
            connections: BTreeMap::new(),
        };
        network.members.insert(id, member);
        Port {
            network: self.clone(),
            id,
            keeps_on: false,
            of: PhantomData,
        }
    }
}

/// The owner's way to a client. Dropping it ends the client: what it has sent is still done.
pub(crate) struct Port<C> {
    network: SharedNetwork,
    id: ClientId,
    /// The client ends by itself.
    keeps_on: bool,
    of: PhantomData<fn() -> C>,
}

impl<C: Client> Port<C> {
    /// Lets the owner do something with its client.
    ///
    /// # Panics
    /// When its process was killed: nothing of it runs any more.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut C, &mut Net<'_>) -> R) -> R {
        crash::point("call");
        self.reach(act)
    }

    fn reach<R>(&self, act: impl FnOnce(&mut C, &mut Net<'_>) -> R) -> R {
        let mut network = self.network.lock();
        let done = network.with_client(self.id, |client, net| {
            let client: &mut dyn Any = client;
            let client = client
                .downcast_mut()
                .expect("a port is to the client that it was made for");
            act(client, net)
        });
        drop(network);
        done.expect("the owner of a client that was killed does not run")
    }

    /// The same where the client may be gone: its owner can outlive its process for as long as it takes to be dropped.
    pub(crate) fn with_rest<R>(&self, act: impl FnOnce(&mut C, &mut Net<'_>) -> R) -> Option<R> {
        let is_there = self.network.lock().members.contains_key(&self.id);
        is_there.then(|| self.reach(act))
    }

    pub(crate) fn network(&self) -> &SharedNetwork {
        &self.network
    }

    /// From now on the drop of this port does not end the client: it goes on until it retires.
    pub(crate) fn leave_running(&mut self) {
        self.keeps_on = true;
    }
}

impl<C> Drop for Port<C> {
    fn drop(&mut self) {
        if !self.keeps_on {
            self.network.lock().members.remove(&self.id);
        }
    }
}
