// The first page: is everything well, who is here, what happens, what needs a person.
import { html, useData, useEvents, Await, Page, Card, Empty, Badge, When, Opens, Form } from './ui.js';
import { Network } from './network.js';
import { get, post } from './api.js';
import { lookAgain } from './live.js';
import { groupName, isOut, whyOut, link } from './state.js';
import { capital, number, placed, span, told, plural } from './words.js';

const HOUR = 3_600_000;
/** What happens all the time, and is of interest on the page of events alone. */
const QUIET = new Set(['sealed', 'sync_finished', 'presence']);

export const NewGroup = ({ tone = 'primary' }) => html`<${Opens} title="Create a group" button="Create a group" tone=${tone}>${(close) => html`
  <${Form} verb="Create the group" close=${close} fields=${[
    { name: 'name', label: 'Name', required: true, help: 'Letters, digits, and : _ -, like domain:research', attrs: { maxlength: 128, autofocus: true } },
    { name: 'currency', label: 'Code of its currency', help: 'Capitals and digits; KAT where nothing is given', attrs: { maxlength: 12 } }]}
    send=${({ name, currency }) => post(['groups'], { name, currency: currency || undefined })}
    sent=${({ group_id }) => { close(); location.hash = link('group', group_id); }} />`}<//>`;

export const JoinGroup = () => html`<${Opens} title="Join a group" button="Join by a ticket">${(close) => html`
  <p class="help">An admin of the group makes a ticket: on its panel under Group, or with <code>lbm ctl group invite</code>.</p>
  <${Form} verb="Join" close=${close} fields=${[{ name: 'group', label: 'Ticket, or the whole id of a group', required: true, rows: 3 },
    { name: 'note', label: 'A word to the admins, where there is no ticket', attrs: { maxlength: 280 } }]}
    send=${join} sent=${(id) => { close(); if (id) location.hash = link('group', id); }} />`}<//>`;

/** Joining answers as a stream: its last line says what came of it. */
async function join({ group, note }) {
  const { path, headers, refusal, Refused, sentence } = await import('./api.js');
  const response = await fetch(path(['join']), {
    method: 'POST', headers: { ...headers(), 'content-type': 'application/json' },
    body: JSON.stringify({ group: group.trim(), note: note || undefined, wait_ms: 15_000 }),
  });
  if (!response.ok) throw await refusal(response);
  const lines = (await response.text()).split('\n').filter((line) => line.startsWith('data:')).map((line) => JSON.parse(line.slice(5)));
  const end = lines.at(-1);
  if (end?.type === 'joined') return end.group_id;
  // The node goes on by itself: it is a group that is being joined.
  lookAgain();
  const { detail, remedy, code } = end?.problem ?? {};
  throw new Refused({ detail: sentence(detail ?? 'No member has answered yet'), remedy: sentence(remedy ?? 'The node goes on asking by itself.'), code });
}

/** What to do about a check that fails, where a page of the panel has it. */
const TO_DO = {
  'own writes': ['See what was written: it can be copied from there', '#/events/stranded'],
  'own blocks': ['Connect to members that have been on since', '#/peers'],
  peers: ['See why not', '#/peers'],
  forks: ['Find out whether its key is in two hands; then an admin may lift it', '#/group'],
};

function alerts({ health, rejected, stuck, behind, requests, events, groups, paused }) {
  // Where a group has this node no more, each is named for itself.
  const all = health.checks.filter((check) => !check.ok && check.name !== 'membership')
    .map((check) => ['bad', `${capital(check.name)}: ${check.detail}`, ...(TO_DO[check.name] ?? [placed(check.remedy), '#/settings'])]);
  for (const group of groups.filter(isOut)) all.push(['bad', `This node is no member of ${group.name} any more: ${whyOut(group)[0]}`, `${whyOut(group)[1]}; or leave the group`, link('group', group.group_id)]);
  for (const one of paused) all.push(['warn', `${one.name} is paused: nothing new comes in`, 'Let it go on', '#/peers']);
  if (requests.length) all.push(['warn', `${plural(requests.length, 'request')} to be let in`, 'Approve or deny', link('group', requests[0].group_id)]);
  const forks = events.filter((event) => event.type === 'fork_detected');
  for (const fork of new Map(forks.map((event) => [event.author + event.group_id, event])).values()) {
    all.push(['bad', told(fork, groupName)[0], 'Its tokens are frozen until an admin says otherwise', link('group', fork.group_id)]);
  }
  if (rejected.length) all.push(['warn', `${rejected.length >= 100 ? '100 or more blocks are' : plural(rejected.length, 'block')} refused by a ledger`, 'See which, and why', '#/events/rejected']);
  for (const { task, group } of stuck) all.push(['warn', `The task ${task.task_id} is stuck: its lease is over`, 'Anyone may take it now', link('tasks', group)]);
  for (const { peer_id, failures, name } of behind) all.push(['warn', `${peer_id} fails in ${name}: ${plural(failures, 'pull')} in a row`, 'Look at the peer', '#/peers']);
  return all;
}

/** Tasks that somebody has begun, of each group. */
const begunTasks = async (asked) => {
  const { groups } = await asked;
  const lists = await Promise.all(groups.filter((group) => !group.joining).slice(0, 8).map(async ({ group_id }) => {
    const busy = await get(['groups', group_id, 'tasks'], { status: 'in_progress', limit: 100 }).catch(() => ({ tasks: [] }));
    return busy.tasks.map((task) => ({ task, group: group_id }));
  }));
  return lists.flat();
};

function askNode() {
  const groups = get(['groups']);
  return Promise.all([get(['health']), get(['rejected'], { limit: 100 }), get(['join-requests']), get(['subscriptions']), groups, begunTasks(groups)]);
}

let begun = null;
/** Asks what this page shows before there is anything to show it in: the first page waits for one wave of questions, and not for three. */
export function begin() {
  begun = askNode();
  // Whoever shows the page is told.
  begun.catch(() => {});
}

async function look() {
  const asked = begun ?? askNode();
  begun = null;
  const [health, rejected, requests, subscriptions, list, started] = await asked;
  const stuck = started.filter(({ task }) => task.ready || (task.lease_until_ms && task.lease_until_ms < Date.now())).slice(0, 5);
  const behind = subscriptions.subscriptions.flatMap((one) => one.failing.map((failing) => ({ ...failing, name: one.name }))).slice(0, 5);
  const paused = subscriptions.subscriptions.filter((one) => one.mode === 'paused');
  return { health, rejected: rejected.rejected, requests: requests.requests, groups: list.groups, stuck, behind, paused };
}

function Activity({ events }) {
  const [now, count] = [Date.now(), 48];
  const bars = Array(count).fill(0);
  for (const event of events) {
    const slot = count - 1 - Math.floor((now - event.at_ms) / (HOUR / 12));
    if (slot >= 0) bars[slot] += 1;
  }
  const most = Math.max(1, ...bars);
  const sum = bars.reduce((all, one) => all + one, 0);
  return html`<svg class="bars" viewBox=${`0 0 ${count * 10} 74`} preserveAspectRatio="none" width="100%" role="img" aria-label=${`${plural(sum, 'event')} in the last four hours`}>
    ${bars.map((n, index) => html`<rect x=${index * 10} width="8" y=${74 - Math.max(1, (n / most) * 72)} height=${Math.max(1, (n / most) * 72)} rx="1.5" fill=${n ? 'var(--accent)' : 'var(--line)'} />`)}</svg>
    <p class="row muted"><span>4 hours ago</span><span class="grow"></span><span>now</span></p>`;
}

const First = () => html`<${Card} title="First steps"><${Empty} title="This node has no group yet">
  <p>A group holds what its members learn, their tasks and their tokens. Create one, or join one that somebody else has created.</p>
  <div class="actions"><${NewGroup} /><${JoinGroup} /></div><//><//>`;

export function Overview({ status }) {
  const { node, groups, peers } = status.data;
  const events = useEvents();
  const found = useData(look, [groups.map((group) => group.group_id).join()], () => true, 1000);
  return html`<${Page} title="Overview" sub=${`lbm ${node.version}, running for ${span(node.uptime_s)}`}
      actions=${groups.length > 0 && html`<${JoinGroup} /><${NewGroup} tone="" />`} />
    ${groups.length === 0 && html`<${First} />`}
    <${Await} of=${found}>${(seen) => {
      const all = alerts({ ...seen, events });
      return html`
      ${all.length === 0 ? html`<p class="note good" role="status"><span><strong>All is well.</strong> ${plural(seen.health.checks.length, 'check')} passed, and nothing waits for you.</span></p>`
        : html`<${Card} title="Needs attention"><ul class="feed">${all.map(([tone, text, todo, to]) => html`<li class=${tone}><span>${text}${todo && html`<br /><a href=${to}>${todo}</a>`}</span></li>`)}</ul><//>`}
      <div class="two"><div class="stack">
        <${Card} title="Peers" side=${html`<span>${number(peers.filter((peer) => peer.connected).length)} of ${number(peers.length)} connected</span>`}>
          ${peers.length ? html`<${Network} node=${node} peers=${peers} />` : html`<${Empty} title="No peer is known yet">
            <p>Other nodes of this network are found by themselves. Farther ones: <a href="#/peers">add a peer</a>.</p><//>`}<//>
        <${Groups} groups=${seen.groups} paused=${seen.paused} /></div>
        <${Card} title="Activity" side=${html`<a href="#/events">All events</a>`}>
          <${Activity} events=${events} />
          <ul class="feed">${events.filter((event) => !QUIET.has(event.type)).slice(0, 10).map((event) => { const [text, tone] = told(event, groupName); return html`<li class=${tone} key=${event.seq}><span>${text}</span><${When} ms=${event.at_ms} /></li>`; })}</ul><//>
      </div>`;
    }}<//>`;
}

const Groups = ({ groups, paused }) => groups.length > 0 && html`<${Card} title="Groups"><ul class="feed">${groups.map((group) => html`<li class=${isOut(group) ? 'bad' : group.joining || paused.some((one) => one.group_id === group.group_id) ? 'warn' : 'good'} key=${group.group_id}>
  <span><a href=${link('knowledge', group.group_id)}>${group.name ?? 'A group that is being joined'}</a> ${group.role && html`<${Badge}>${group.role}<//>`}${group.joining && html` <${Badge} tone="warn">joining<//>`}${isOut(group) && html` <${Badge} tone="bad">no member<//>`}
  <br /><span class="muted">${plural(group.members, 'member')}, ${plural(group.claims, 'claim')}, ${plural(group.blocks, 'block')}</span></span></li>`)}</ul><//>`;
