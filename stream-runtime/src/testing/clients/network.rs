//! The way between clients and the broker's state machine, on virtual time: answers take their time, connections break,
//! brokers are away, workers are cut off, frozen and killed. A seed decides.
//!
//! A client is an actor: it is called with the answers to its requests and with its alarms, as librdkafka's threads are
//! beside the program. The owner of a client reaches it through a [`Port`], from the thread that it belongs to.
//!
//! Invariants: everything happens at its time and in the order in which it was scheduled; the requests that a client
//! sends on one lane arrive in their order, and so do the answers; each is answered once; when a connection breaks, no
//! request arrives behind one that did not, and the client learns of all of them at one moment, up to which what it
//! sends there is lost as well; when a broker refuses the records of a partition for the moment, it refuses all that are
//! sent there until the client has learned of it. Not here: what clients do ([`super`]), and when time passes (the driver of the test).

mod behaviour;
mod port;
mod refusals;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use kafka_protocol::ResponseError;

pub(crate) use self::behaviour::Behaviour;
pub(crate) use self::port::{Port, SharedNetwork};
use self::refusals::{Place, Refused};

use crate::broker::api::{Request, Response, text};
use crate::broker::state::{Answer, Caller, Identity, Now, State, Token};
use crate::testing::effects;
use crate::testing::random::Random;

/// A simulated process: whatever is done to it is done to all its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Process(pub(crate) u32);

/// How often the broker looks for what it can compact. Apache Kafka does every 15 s, but a run has minutes only.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(5);

/// A client of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientId(u64);

/// One request of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call(u64);

/// A connection of a client: requests on one keep their order. Clients choose: data on one, group matters on another.
pub(crate) type Lane = u8;

/// There is no answer: the connection broke, or nobody answered in time. The request may have been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoAnswer;

/// What runs in the background of a client.
pub(crate) trait Client: Any + Send {
    /// A request has been answered, or will never be. Of a connection that has broken, the client is told for one request
    /// after the other, at one time; what it sends after the first goes on a connection of its own.
    fn answered(&mut self, call: Call, answer: Result<Response, NoAnswer>, net: &mut Net<'_>);

    /// An alarm that it set goes off; alarms cannot be taken back, so it checks whether this one still means anything.
    fn alarm(&mut self, alarm: u64, net: &mut Net<'_>);
}

#[derive(Debug)]
enum Event {
    /// A request reaches the broker.
    Arrival(Box<Arrival>),
    /// Its answer reaches the client.
    Return {
        client: ClientId,
        call: Call,
        answer: Box<Response>,
    },
    /// The client learns that there will be no answer, since its connection has broken.
    Loss {
        client: ClientId,
        call: Call,
        lane: Lane,
        /// The number of the break.
        number: u64,
    },
    Alarm {
        client: ClientId,
        alarm: u64,
    },
}

#[derive(Debug)]
struct Arrival {
    client: ClientId,
    lane: Lane,
    call: Call,
    version: i16,
    request: Request,
    /// The partitions that the broker refuses records of, since it refuses what was sent to them before.
    refused: Refused,
}

/// A request whose answer has not come back.
#[derive(Debug)]
struct Open {
    client: ClientId,
    lane: Lane,
    arrives: Duration,
}

struct Member {
    process: Process,
    name: String,
    /// `None` while it is being called.
    client: Option<Box<dyn Client>>,
    connections: BTreeMap<Lane, Connection>,
}

/// One lane of a client.
#[derive(Debug, Default)]
struct Connection {
    /// When the last request reaches the broker.
    arrives: Duration,
    /// When the last answer reaches the client.
    returns: Duration,
    /// It is broken, and the client has not learned of it: the number of the break, and when it will.
    broken: Option<(u64, Duration)>,
    /// Partitions whose records were refused, which the client has not learned: with what, and by which answer it does.
    refusing: BTreeMap<Place, (ResponseError, Call)>,
}

/// The broker, everybody who talks to it, and what is on its way.
pub(crate) struct Network {
    pub(crate) broker: State,
    pub(crate) behaviour: Behaviour,
    pub(crate) random: Random,
    elapsed: Duration,
    /// The wall clock of the start, in milliseconds since the Unix epoch.
    epoch_ms: i64,
    events: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    members: BTreeMap<ClientId, Member>,
    open: BTreeMap<Call, Open>,
    next: u64,
    is_away: bool,
    cut_off: BTreeSet<Process>,
    frozen: BTreeMap<Process, Vec<Event>>,
    /// How far the wall clocks of processes are off, in milliseconds.
    skews: BTreeMap<Process, i64>,
    /// What was done, if anybody wants to know: to compare two runs.
    trace: Option<Vec<String>>,
}

/// What a client sees of the network while it is called.
pub(crate) struct Net<'a> {
    network: &'a mut Network,
    client: ClientId,
}

impl Net<'_> {
    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.network.elapsed
    }

    /// Milliseconds since the Unix epoch, by the clock of this client's process.
    pub(crate) fn wall_millis(&self) -> i64 {
        let member = self.network.members.get(&self.client);
        let skew = member.map_or(0, |member| self.network.skew(member.process));
        if skew != 0 {
            effects::count("record stamped by a wrong clock");
        }
        self.network.wall_millis() + skew
    }

    /// Sends a request; [`Client::answered`] tells how it ended.
    pub(crate) fn call(&mut self, lane: Lane, version: i16, request: impl Into<Request>) -> Call {
        self.network.call(self.client, lane, version, request.into())
    }

    /// Has [`Client::alarm`] called after this time.
    pub(crate) fn alarm(&mut self, after: Duration, alarm: u64) {
        let at = self.network.elapsed + after;
        let client = self.client;
        self.network.schedule(at, Event::Alarm { client, alarm });
    }

    pub(crate) fn behaviour(&self) -> &Behaviour {
        &self.network.behaviour
    }

    /// A time after which to ask again, as chance decides.
    pub(crate) fn back_off(&mut self) -> Duration {
        let (least, most) = self.network.behaviour.back_off;
        self.network.random.between(least, most)
    }

    /// What chance decides for this client.
    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.network.random
    }

    /// Ends this client, whose owner has left it running.
    pub(crate) fn retire(&mut self) {
        self.network.members.remove(&self.client);
    }
}

impl Network {
    pub(crate) fn new(seed: u64, epoch_ms: i64) -> Self {
        let identity = Identity {
            host: text("virtual"),
            port: 9092,
            auto_create_topics: false,
            initial_rebalance_delay: Duration::from_millis(100),
            compaction_interval: COMPACTION_INTERVAL,
        };
        let now = Now {
            elapsed: Duration::ZERO,
            wall_ms: epoch_ms,
        };
        Self {
            broker: State::new(identity, now),
            behaviour: Behaviour::default(),
            random: Random::new(seed),
            elapsed: Duration::ZERO,
            epoch_ms,
            events: BTreeMap::new(),
            scheduled: 0,
            members: BTreeMap::new(),
            open: BTreeMap::new(),
            next: 0,
            is_away: false,
            cut_off: BTreeSet::new(),
            frozen: BTreeMap::new(),
            skews: BTreeMap::new(),
            trace: None,
        }
    }

    /// The broker's time.
    pub(crate) fn now(&self) -> Now {
        Now {
            elapsed: self.elapsed,
            wall_ms: self.wall_millis(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Milliseconds since the Unix epoch, by the clock of the broker.
    pub(crate) fn wall_millis(&self) -> i64 {
        self.epoch_ms + i64::try_from(self.elapsed.as_millis()).unwrap_or(i64::MAX)
    }

    /// Begins to note what is done.
    pub(crate) fn keep_trace(&mut self) {
        self.trace = Some(Vec::new());
    }

    pub(crate) fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// Notes something, if anybody wants to know.
    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        let elapsed = self.elapsed;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{elapsed:?} {}", what()));
        }
    }

    /// Asks the broker for a process at once, as if there were no way between them: for calls that block. `None` when it
    /// cannot be reached.
    pub(crate) fn ask(
        &mut self,
        process: Process,
        version: i16,
        request: impl Into<Request>,
    ) -> Option<Response> {
        let request = request.into();
        self.note(|| format!("{process:?} asks at once {}", kind(&request)));
        let is_reached = !self.is_away && !self.cut_off.contains(&process);
        is_reached.then(|| self.at_once(version, request)).flatten()
    }

    /// Asks the broker at once, wherever it is: for the test itself. `None` when it would answer later.
    pub(crate) fn demand(&mut self, version: i16, request: impl Into<Request>) -> Option<Response> {
        let request = request.into();
        self.note(|| format!("the test asks at once {}", kind(&request)));
        self.at_once(version, request)
    }

    fn at_once(&mut self, version: i16, request: Request) -> Option<Response> {
        self.next += 1;
        let caller = Caller {
            token: Token(self.next),
            client_id: text("test"),
            host: text("virtual"),
            version,
        };
        let now = self.now();
        let answer = self.broker.handle(now, &caller, request);
        self.complete();
        match answer {
            Answer::Ready(response) => {
                self.note(|| format!("answered at once {}", kind(&response)));
                Some(response)
            }
            Answer::Later | Answer::Nothing => None,
        }
    }

    /// When something happens next, unless somebody does something before.
    pub(crate) fn next_event(&self) -> Option<Duration> {
        let event = self.events.keys().next().map(|(at, _)| *at);
        event.into_iter().chain(self.broker.next_deadline()).min()
    }

    /// Lets everything happen that is due up to this time.
    pub(crate) fn run_until(&mut self, end: Duration) {
        while let Some(at) = self.next_event().filter(|at| *at <= end) {
            self.elapsed = self.elapsed.max(at);
            let is_brokers = self.events.keys().next().is_none_or(|(first, _)| *first > at);
            if is_brokers {
                let now = self.now();
                self.broker.advance(now);
                self.complete();
            } else if let Some((_, event)) = self.events.pop_first() {
                self.happen(event);
            }
        }
        self.elapsed = self.elapsed.max(end);
    }

    /// The broker is away or back. It keeps what it has; whoever asks meanwhile gets no answer.
    pub(crate) fn set_away(&mut self, is_away: bool) {
        self.note(|| format!("broker away: {is_away}"));
        self.is_away = is_away;
        if is_away {
            let open: Vec<_> = self.open.keys().copied().collect();
            self.break_off(&open);
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.is_away
    }

    /// Cuts a process off from the broker, or joins it again.
    pub(crate) fn set_cut_off(&mut self, process: Process, is_cut_off: bool) {
        self.note(|| format!("{process:?} cut off: {is_cut_off}"));
        if is_cut_off {
            self.cut_off.insert(process);
            let open = self.open_of(process);
            self.break_off(&open);
        } else {
            self.cut_off.remove(&process);
        }
    }

    /// Stops a process as SIGSTOP does, or lets it go on: what comes for its clients waits.
    pub(crate) fn set_frozen(&mut self, process: Process, is_frozen: bool) {
        self.note(|| format!("{process:?} frozen: {is_frozen}"));
        if is_frozen {
            self.frozen.entry(process).or_default();
        } else if let Some(events) = self.frozen.remove(&process) {
            let now = self.elapsed;
            for event in events {
                self.schedule(now, event);
            }
        }
    }

    /// Sets the wall clock of a process forth or back, in milliseconds from the right time.
    pub(crate) fn set_skew(&mut self, process: Process, millis: i64) {
        self.skews.insert(process, millis);
    }

    /// How far the wall clock of a process is off.
    pub(crate) fn skew(&self, process: Process) -> i64 {
        self.skews.get(&process).copied().unwrap_or_default()
    }

    /// Ends a process as `kill -9` does: its clients are gone, and what they sent last arrives or not.
    pub(crate) fn kill(&mut self, process: Process) {
        self.note(|| format!("{process:?} killed"));
        self.frozen.remove(&process);
        self.skews.remove(&process);
        let open = self.open_of(process);
        self.break_off(&open);
        self.members.retain(|_, member| member.process != process);
    }

    fn open_of(&self, process: Process) -> Vec<Call> {
        let open = self.open.iter();
        let of = open.filter(|(_, open)| {
            self.members
                .get(&open.client)
                .is_some_and(|member| member.process == process)
        });
        of.map(|(call, _)| *call).collect()
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((at, self.scheduled), event);
    }

    fn latency(&mut self) -> Duration {
        let (least, most) = self.behaviour.latency;
        self.random.between(least, most)
    }

    fn call(&mut self, client: ClientId, lane: Lane, version: i16, request: Request) -> Call {
        self.next += 1;
        let call = Call(self.next);
        let latency = self.latency();
        let Some(member) = self.members.get_mut(&client) else {
            return call;
        };
        let (process, name) = (member.process, &member.name);
        let connection = member.connections.entry(lane).or_default();
        let is_broken = connection.broken.is_some();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:?} {name} asks {}", self.elapsed, kind(&request)));
        }
        if is_broken || self.is_away || self.cut_off.contains(&process) {
            self.refuse(client, lane, call);
            return call;
        }
        let arrives = (self.elapsed + latency).max(connection.arrives);
        connection.arrives = arrives;
        let refusing = connection.refusing.iter();
        let refused = refusing
            .map(|(place, (error, _))| (place.clone(), *error))
            .collect();
        self.open.insert(
            call,
            Open {
                client,
                lane,
                arrives,
            },
        );
        let arrival = Arrival {
            client,
            lane,
            call,
            version,
            request,
            refused,
        };
        self.schedule(arrives, Event::Arrival(Box::new(arrival)));
        if self.random.one_in(self.behaviour.breaks) {
            let lost = self.open.iter();
            let lost = lost.filter(|(_, open)| open.client == client && open.lane == lane);
            let lost: Vec<_> = lost.map(|(call, _)| *call).collect();
            self.break_off(&lost);
        }
        call
    }

    /// The client learns that nobody answers, when it learns that the connection is broken.
    fn refuse(&mut self, client: ClientId, lane: Lane, call: Call) {
        let after = self
            .random
            .between(Duration::from_millis(1), self.behaviour.patience);
        let Some(member) = self.members.get_mut(&client) else {
            return;
        };
        let connection = member.connections.entry(lane).or_default();
        self.scheduled += 1;
        let (number, at) = *connection
            .broken
            .get_or_insert((self.scheduled, self.elapsed + after));
        let event = Event::Loss {
            client,
            call,
            lane,
            number,
        };
        self.schedule(at.max(self.elapsed), event);
    }

    /// Breaks the connections of these calls: those that had come as far as chance says are done by the broker, the others
    /// are not, and none is answered.
    fn break_off(&mut self, calls: &[Call]) {
        let mut cuts = BTreeMap::new();
        for call in calls {
            let Some(open) = self.open.remove(call) else {
                continue;
            };
            let ahead = open.arrives.saturating_sub(self.elapsed);
            let cut = *cuts.entry((open.client, open.lane)).or_insert_with(|| {
                let far = self.random.one_in(2);
                self.elapsed + if far { ahead } else { Duration::ZERO }
            });
            let is_lost = open.arrives > cut;
            self.events.retain(|_, event| match event {
                Event::Arrival(arrival) => !is_lost || arrival.call != *call,
                Event::Return { call: answered, .. } => answered != call,
                Event::Loss { .. } | Event::Alarm { .. } => true,
            });
            self.refuse(open.client, open.lane, *call);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival(arrival) => self.arrive(*arrival),
            Event::Return { client, .. } | Event::Loss { client, .. } | Event::Alarm { client, .. } => {
                if let Event::Return { call, .. } = &event {
                    // It is with the client, even when that is frozen.
                    self.open.remove(call);
                }
                let Some(member) = self.members.get_mut(&client) else {
                    return;
                };
                if let Some(kept) = self.frozen.get_mut(&member.process) {
                    kept.push(event);
                    return;
                }
                match event {
                    Event::Return { call, answer, .. } => {
                        for connection in member.connections.values_mut() {
                            connection.refusing.retain(|_, (_, refused)| *refused != call);
                        }
                        if let Some(trace) = &mut self.trace {
                            let (name, answer) = (&member.name, kind(&answer));
                            trace.push(format!("{:?} {name} is answered {answer}", self.elapsed));
                        }
                        self.with_client(client, |actor, net| actor.answered(call, Ok(*answer), net));
                    }
                    Event::Loss {
                        call, lane, number, ..
                    } => {
                        if let Some(connection) = member.connections.get_mut(&lane) {
                            let learned = connection.broken.take_if(|(broken, _)| *broken == number);
                            if learned.is_some() {
                                effects::count("connection broken");
                                connection.refusing.clear();
                            }
                        }
                        if let Some(trace) = &mut self.trace {
                            trace.push(format!("{:?} {} gets no answer", self.elapsed, member.name));
                        }
                        self.with_client(client, |actor, net| actor.answered(call, Err(NoAnswer), net));
                    }
                    Event::Alarm { alarm, .. } => {
                        self.with_client(client, |actor, net| actor.alarm(alarm, net));
                    }
                    Event::Arrival(_) => {}
                }
            }
        }
    }

    fn arrive(&mut self, mut arrival: Arrival) {
        if self.is_away {
            return;
        }
        let refused = match self.refuse_records(&mut arrival) {
            None => self.refusal(&arrival),
            refused => refused,
        };
        let refused = match refused {
            Some(response) if refusals::is_all(&arrival.request) => {
                self.give_back(arrival.call, response);
                return;
            }
            refused => refused,
        };
        let Arrival {
            client,
            call,
            version,
            request,
            ..
        } = arrival;
        let name = self.members.get(&client).map(|member| member.name.clone());
        let caller = Caller {
            token: Token(call.0),
            client_id: text(name.unwrap_or_default()),
            host: text("virtual"),
            version,
        };
        let now = self.now();
        match self.broker.handle(now, &caller, request) {
            Answer::Ready(response) => self.give_back(call, refusals::merged(response, refused)),
            Answer::Later | Answer::Nothing => {}
        }
        self.complete();
    }

    /// The answer to a request that the broker refuses for the moment as a whole, if it does.
    fn refusal(&mut self, arrival: &Arrival) -> Option<Response> {
        let errors = refusals::errors(&arrival.request);
        if errors.is_empty() || !self.random.one_in(self.behaviour.refuses) {
            return None;
        }
        let error = *self.random.pick(errors);
        effects::count(match &arrival.request {
            Request::OffsetCommit(_) | Request::TxnOffsetCommit(_) => "offsets refused",
            Request::OffsetFetch(_) => "question refused",
            _ => "transaction refused",
        });
        self.note(|| format!("{:?} is refused: {error}", arrival.call));
        refusals::answer(&arrival.request, error)
    }

    /// Takes out of a request the records that the broker refuses for the moment, and gives the answer for those. From
    /// then on it refuses what is sent to their partitions until the client has learned of it: else a later batch would come
    /// before an earlier one, since a partition that does not know a producer takes any sequence of it.
    fn refuse_records(&mut self, arrival: &mut Arrival) -> Option<Response> {
        let Request::Produce(request) = &mut arrival.request else {
            return None;
        };
        let mut refused = std::mem::take(&mut arrival.refused);
        if self.random.one_in(self.behaviour.refuses) {
            refused.extend(refusals::some(request, &mut self.random));
        }
        let response = refusals::take_out(request, &mut refused)?;
        effects::count("records refused");
        let (client, lane, call) = (arrival.client, arrival.lane, arrival.call);
        self.note(|| format!("{call:?} is refused in part: {refused:?}"));
        for event in self.events.values_mut() {
            if let Event::Arrival(later) = event
                && (later.client, later.lane) == (client, lane)
            {
                later.refused.extend(refused.clone());
            }
        }
        let member = self.members.get_mut(&client);
        if let Some(connection) = member.and_then(|member| member.connections.get_mut(&lane)) {
            let refusing = refused.into_iter().map(|(place, error)| (place, (error, call)));
            connection.refusing.extend(refusing);
        }
        Some(response.into())
    }

    /// Sends on what the broker has answered late.
    fn complete(&mut self) {
        for completion in self.broker.take_completions() {
            self.give_back(Call(completion.token.0), completion.response);
        }
    }

    fn give_back(&mut self, call: Call, response: Response) {
        // Nobody waits for the answer when the connection is gone.
        let Some((client, lane)) = self.open.get(&call).map(|open| (open.client, open.lane)) else {
            effects::count("request done without an answer");
            return;
        };
        let latency = self.latency();
        let Some(member) = self.members.get_mut(&client) else {
            return;
        };
        let connection = member.connections.entry(lane).or_default();
        let at = (self.elapsed + latency).max(connection.returns);
        connection.returns = at;
        let event = Event::Return {
            client,
            call,
            answer: Box::new(response),
        };
        self.schedule(at, event);
    }

    fn with_client<R>(
        &mut self,
        client: ClientId,
        act: impl FnOnce(&mut dyn Client, &mut Net<'_>) -> R,
    ) -> Option<R> {
        let mut actor = self.members.get_mut(&client)?.client.take()?;
        let mut net = Net {
            network: self,
            client,
        };
        let result = act(actor.as_mut(), &mut net);
        // It may have been killed by what it did.
        if let Some(member) = self.members.get_mut(&client) {
            member.client = Some(actor);
        }
        Some(result)
    }
}

/// The name of a request or an answer and a checksum of it, for the trace.
fn kind(message: &impl fmt::Debug) -> String {
    let text = format!("{message:?}");
    let name = text.split('(').next().unwrap_or_default();
    let errors: String = errors(&text).iter().map(|error| format!(" {error}")).collect();
    format!("{name} {:08x}{errors}", crc32c::crc32c(text.as_bytes()))
}

/// The errors that stand in an answer, written out.
fn errors(text: &str) -> BTreeSet<String> {
    let codes = text.split("error_code: ").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit())?;
        rest[..end].parse().ok()
    });
    codes
        .filter_map(ResponseError::try_from_code)
        .map(|error| format!("{error:?}"))
        .collect()
}
