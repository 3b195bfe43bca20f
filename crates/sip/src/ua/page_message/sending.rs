//! How a message is written, and how it goes out.

use std::collections::VecDeque;

use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{Text, Wants};

use super::peers::Skill;
use super::{Job, Notice, Page, Pages, Refused, TOO_LONG, fail_part};
use crate::adapt;
use crate::adapt::im::PageMessage;
use crate::dialect::{ImMode, LongMessages, PageWrapper};
use crate::dialog::MAX_FORWARDS;
use crate::message::Request;
use crate::method::Method;
use crate::ua::effects::{Env, Outgoing, Purpose};
use crate::ua::session::pair;

/// Why a message is not sent outside a session.
enum Unsent {
    Failed(Local),
    /// It goes into one.
    Elsewhere,
}

impl Pages {
    /// Sends what comes first, or settles it and the lane's next one, until something is under way or nothing is left.
    pub(super) fn start(&mut self, lane: SipAddress, first: Option<Job>, env: &mut Env<'_>) {
        let mut next = first;
        while let Some(job) = next {
            let under_way = match job {
                Job::Page(page) => self.start_page(&lane, *page, env),
                Job::Notice(notice) => {
                    self.start_notice(*notice, env);
                    true
                }
            };
            if under_way {
                return;
            }
            next = self.take_next(&lane);
        }
        self.lanes.remove(&lane);
        self.type_on(&lane, env);
    }

    fn start_page(&mut self, lane: &SipAddress, mut page: Page, env: &mut Env<'_>) -> bool {
        let content = match self.write(&mut page, env) {
            Ok(content) => content,
            Err(Unsent::Elsewhere) => {
                self.upgrade(lane, page, env);
                return false;
            }
            Err(Unsent::Failed(local)) => {
                self.close(&page);
                fail_part(page, Failure::Local(local), env);
                return false;
            }
        };
        let call_id = call_id(page.im.thread.as_deref(), env);
        self.expect(&mut page, &call_id, env);
        let branch_hint = page.im.id.as_deref().map(adapt::im::branch_hint);
        let parties = (&page.from, &page.to);
        let mut request = self.request(parties, &call_id, content, env);
        adapt::trace::write(&mut request.headers, &page.im.trace);
        env.send(outgoing(
            Purpose::Page(page.reference),
            request,
            &page.to,
            branch_hint,
        ));
        self.in_flight.insert(page.reference, (page, call_id));
        true
    }

    fn start_notice(&mut self, notice: Notice, env: &mut Env<'_>) {
        let call_id = call_id(notice.thread.as_deref(), env);
        let parties = (&notice.from, &notice.to);
        let request = self.request(parties, &call_id, notice.content.clone(), env);
        self.last_notice += 1;
        let purpose = Purpose::PageNotice(self.last_notice);
        env.send(outgoing(purpose, request, &notice.to, None));
        self.notices.insert(self.last_notice, (notice, call_id));
    }

    /// The message, or its next part, as its peer takes it.
    fn write(&mut self, page: &mut Page, env: &mut Env<'_>) -> Result<PageMessage, Unsent> {
        let mut im = page.im.clone();
        if let Some(language) = self.peers.language(&page.to, env.now.mono) {
            adapt::im::prefer(&mut im, language);
        }
        if page.written.parts.is_empty() {
            let content = adapt::im::write(&im, &page.written.accepted);
            let content = content.map_err(|_| Unsent::Failed(Local::NotAcceptable))?;
            if content.body.len() <= env.settings.page_limit {
                return Ok(self.wrap(page, content, env));
            }
            page.written.parts = too_long(page, &im.bodies, env)?;
        }
        let (taken, parts) = (page.written.taken, page.written.parts.len());
        let body = im.bodies.iter_mut().find(|body| !body.text.is_empty());
        if let (Some(body), Some(part)) = (body, page.written.parts.get(taken)) {
            body.text.clone_from(part);
        }
        if taken > 0 {
            im.subjects.clear();
        }
        let content = adapt::im::write(&im, &page.written.accepted);
        let content = content.map_err(|_| Unsent::Failed(Local::NotAcceptable))?;
        // The last part stands for all: it comes after the others.
        Ok(if taken + 1 == parts {
            self.wrap(page, content, env)
        } else {
            content
        })
    }

    /// Asks for receipts, where they are wanted and the peer understands it.
    fn wrap(&mut self, page: &mut Page, content: PageMessage, env: &mut Env<'_>) -> PageMessage {
        let known = self.peers.knows(&page.to, Skill::Wrapper, env.now.mono);
        let wraps = match env.behaviour(&page.to.host).page_wrapper {
            PageWrapper::None => false,
            PageWrapper::Known => known == Some(true),
            PageWrapper::Always => known != Some(false),
        };
        page.written.wrapped = false;
        if !wraps || page.written.bare || page.im.wants == Wants::default() {
            return content;
        }
        let id = env.entropy.token();
        let parties = (&page.from, &page.to);
        let wrapped = adapt::im::wrap(&content, parties, (&id, page.im.wants), env.now);
        if wrapped.body.len() > env.settings.page_limit {
            return content;
        }
        let name = (pair(&page.from, &page.to), id);
        let sent = (Some(page.reference), page.im.wants);
        let serial = self.expected.sent(name.clone(), sent, env.now.mono);
        page.written.wrapped = true;
        page.written.name = Some((name, serial));
        wrapped
    }

    /// COMPAT(linphone): it tells of messages without wrapper, too, and names them by their Call-ID.
    fn expect(&mut self, page: &mut Page, call_id: &str, env: &Env<'_>) {
        if page.written.wrapped {
            return;
        }
        let is_last = page.written.taken + 1 >= page.written.parts.len();
        let name = (pair(&page.from, &page.to), call_id.to_owned());
        let sent = (is_last.then_some(page.reference), page.im.wants);
        let serial = self.expected.sent(name.clone(), sent, env.now.mono);
        page.written.name = Some((name, serial));
    }

    /// A message that is too long opens a session, and what waits behind it between the two goes there after it.
    fn upgrade(&mut self, lane: &SipAddress, mut page: Page, env: &mut Env<'_>) {
        let key = pair(&page.from, &page.to);
        page.refused = Some(Refused {
            mode: ImMode::Page,
            status: TOO_LONG,
            failure: Failure::Local(Local::TooLarge),
        });
        self.close(&page);
        env.effects.reroute.push_back(page);
        let waiting = self.lanes.get_mut(lane).map(std::mem::take);
        let (follow, stay): (VecDeque<Job>, VecDeque<Job>) = waiting
            .unwrap_or_default()
            .into_iter()
            .partition(|job| matches!(job, Job::Page(page) if pair(&page.from, &page.to) == key));
        if let Some(waiting) = self.lanes.get_mut(lane) {
            *waiting = stay;
        }
        for job in follow {
            self.taken_out(&job);
            if let Job::Page(page) = job {
                self.close(&page);
                env.effects.reroute.push_back(*page);
            }
        }
    }

    /// RFC 7572 Table 1.
    fn request(
        &mut self,
        (from, to): (&SipAddress, &SipAddress),
        call_id: &str,
        content: PageMessage,
        env: &mut Env<'_>,
    ) -> Request {
        let uri = adapt::address::to_uri(to).to_string();
        let cseq = self.threads.next(call_id, env);
        // Whom it is for is the user; the device is where it goes (RFC 3261 §8.1.1.2).
        let user = adapt::address::to_uri(&to.bare()).to_string();
        let from = adapt::address::to_uri(from).to_string();
        let tag = env.entropy.token();
        let mut request = Request::new(Method::MESSAGE, uri.as_str());
        let headers = &mut request.headers;
        headers.push("Max-Forwards", MAX_FORWARDS);
        headers.push("From", format!("<{from}>;tag={tag}"));
        headers.push("To", format!("<{user}>"));
        headers.push("Call-ID", call_id);
        headers.push("CSeq", format!("{cseq} {}", Method::MESSAGE));
        headers.push("User-Agent", &env.settings.product);
        for (name, value) in &content.headers {
            headers.push(name, value);
        }
        request.body = content.body;
        request
    }
}

/// What becomes of a message that is too long for one MESSAGE: its parts, or why not.
fn too_long(page: &Page, bodies: &[Text], env: &Env<'_>) -> Result<Vec<String>, Unsent> {
    let text = bodies.iter().find(|body| !body.text.is_empty());
    match env.behaviour(&page.to.host).long_messages {
        LongMessages::Session if page.refused.is_none() => Err(Unsent::Elsewhere),
        LongMessages::Split if page.written.accepted.takes("text", "plain") => text
            .and_then(|text| adapt::im::split(&text.text, env.settings.page_limit))
            .ok_or(Unsent::Failed(Local::TooLarge)),
        _ => Err(Unsent::Failed(Local::TooLarge)),
    }
}

/// The Call-ID of a thread, or a fresh one.
fn call_id(thread: Option<&str>, env: &mut Env<'_>) -> String {
    thread
        .and_then(adapt::im::call_id)
        .unwrap_or_else(|| format!("{}@{}", env.entropy.token(), env.settings.local.host))
}

fn outgoing(
    purpose: Purpose,
    request: Request,
    to: &SipAddress,
    branch_hint: Option<String>,
) -> Outgoing {
    Outgoing {
        purpose,
        next_hop: request.uri.clone(),
        request,
        over: None,
        domain: to.host.clone(),
        contact: None,
        branch_hint,
    }
}
