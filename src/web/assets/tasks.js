// The board: what is free, who has what, what ended. A card is dragged, or moved by its own menu.
import { html, useState, useEffect, useRef, usePages, useData, Await, More, Page, Badge, When, Who, Final, Opens, Form, Dialog, Menu, toast } from './ui.js';
import { get, post } from './api.js';
import { whyNot } from './state.js';
import { number, capital, full, called } from './words.js';

const COLUMNS = [
  ['pending', 'Free', ['pending']],
  ['assigned', 'Taken', ['assigned']],
  ['in_progress', 'In progress', ['in_progress']],
  ['ended', 'Ended', ['completed', 'failed', 'cancelled']],
];
/** Where a task can go from where it is: the verb of the API, and what it is called. */
const MOVES = {
  pending: [['assign', 'Taken, by this node'], ['start', 'In progress'], ['cancel', 'Cancelled']],
  assigned: [['start', 'In progress'], ['release', 'Free'], ['fail', 'Failed'], ['cancel', 'Cancelled']],
  in_progress: [['complete', 'Completed'], ['fail', 'Failed'], ['release', 'Free'], ['cancel', 'Cancelled']],
};
/** What dropping a card on a column does. */
const DROPS = {
  assigned: { pending: 'assign' },
  in_progress: { pending: 'start', assigned: 'start' },
  pending: { assigned: 'release', in_progress: 'release' },
  ended: { in_progress: 'complete' },
};

/** The card that was moved by its menu: it has the focus again where it turns up. */
let moved = null;

async function move(group, task, verb) {
  try {
    const changed = await post(['groups', group.group_id, 'tasks', task.task_id, verb]);
    toast(`${task.title} is ${capital(changed.status).toLowerCase()}.`);
  } catch (error) {
    moved = null;
    toast(`${error.message} ${error.remedy ?? ''}`, 'bad');
  }
}

function TaskCard({ group, task, open, drag }) {
  const title = useRef();
  useEffect(() => {
    const at = document.activeElement;
    if (moved === task.task_id && (at === document.body || at.closest('.task')?.dataset.task === moved)) title.current.focus();
    if (moved === task.task_id) moved = null;
  }, []);
  const moves = whyNot(group) ? [] : MOVES[task.status] ?? [];
  const late = task.due_ms && task.due_ms < Date.now() && moves.length > 0;
  return html`<li class="task" data-task=${task.task_id} draggable=${moves.length > 0}
      onDragStart=${(event) => { event.dataTransfer.setData('text/plain', task.task_id); event.dataTransfer.effectAllowed = 'move'; drag(task); event.currentTarget.classList.add('dragged'); }}
      onDragEnd=${(event) => { event.currentTarget.classList.remove('dragged'); drag(null); }}>
    <button ref=${title} class="title" dir="auto" onClick=${() => open(task)}>${task.title}</button>
    <p class="meta"><code>${task.task_id}</code>${task.assignee && html`<span>${called(task.assignee)}</span>`}
      ${task.reward > 0 && html`<${Badge} tone="accent">${number(task.reward)}<//>`}${task.priority > 0 && html`<${Badge}>priority ${task.priority}<//>`}
      ${late && html`<${Badge} tone="bad">late<//>`}${['completed', 'failed', 'cancelled'].includes(task.status) && html`<${Badge} tone=${{ completed: 'good', failed: 'bad' }[task.status]}>${task.status}<//>`}
      ${task.status === 'pending' && !task.ready && html`<${Badge} tone="warn">waits for others<//>`}</p>
    ${moves.length > 0 && html`<${Menu} label=${`Move to… ${task.title}`} button="Move to…" items=${moves.map(([verb, words]) => [words, () => { moved = task.task_id; move(group, task, verb); }])} />`}
  </li>`;
}

function Column({ group, column: [name, words, statuses], open, dragged, drag, mine }) {
  const [over, setOver] = useState(false);
  const concerns = (event) => event.type === 'task_changed' && event.group_id === group.group_id;
  const pages = usePages(async ({ limit, cursor }) => {
    // The ended ones are three kinds, each with its cursor.
    const cursors = cursor ? JSON.parse(cursor) : statuses.map(() => '');
    const lists = await Promise.all(statuses.map((status, at) => (cursors[at] === null ? { tasks: [], next_cursor: null }
      : get(['groups', group.group_id, 'tasks'], { status, limit, cursor: cursors[at], reserved: false, mine: mine || undefined }))));
    const next = lists.map((list) => list.next_cursor);
    return { tasks: lists.flatMap((list) => list.tasks), next_cursor: next.some(Boolean) ? JSON.stringify(next) : null };
  }, (page) => page.tasks, [group.group_id, name, mine], concerns, 40);
  const verb = dragged && DROPS[name]?.[dragged.status];
  return html`<section class=${`column ${over && verb ? 'over' : ''}`} aria-label=${words} data-column=${name}
      onDragOver=${(event) => { if (verb) { event.preventDefault(); setOver(true); } }} onDragLeave=${() => setOver(false)}
      onDrop=${(event) => { event.preventDefault(); setOver(false); if (verb) move(group, dragged, verb); }}>
    <header><h2>${words}</h2><span class="muted">${pages.data ? `${number(pages.data.rows.length)}${pages.data.more ? '+' : ''}` : ''}</span></header>
    <${Await} of=${pages}>${({ rows }) => html`${rows.length === 0 && name === 'pending' && html`<p class="help">Nothing is free. Create a task, and any member or agent can take it.</p>`}<ul class="plain">${rows.map((task) => html`<${TaskCard} key=${task.task_id} group=${group} task=${task} open=${open} drag=${drag} />`)}</ul>`}<//>
    <${More} pages=${pages} what="tasks" /></section>`;
}

function Detail({ group, task, close }) {
  const found = useData(() => get(['groups', group.group_id, 'tasks', task.task_id]), [task.task_id],
    (event) => event.type === 'task_changed' && event.group_id === group.group_id);
  const members = useData(() => get(['groups', group.group_id, 'members']), [group.group_id], () => false);
  return html`<${Dialog} title=${task.title} close=${close} wide=${true}><${Await} of=${found}>${(one) => html`
    <dl class="facts"><dt>Stands</dt><dd>${capital(one.status)} <${Final} is=${one.final} /></dd>
      <dt>With</dt><dd>${one.assignee ? html`<${Who} id=${one.assignee} />${one.lease_until_ms ? html`, until <${When} ms=${one.lease_until_ms} />` : ''}` : 'nobody'}</dd>
      <dt>Created</dt><dd><${Who} id=${one.creator} />, ${full(one.created_ms)}</dd>
      ${one.due_ms && html`<dt>Due</dt><dd>${full(one.due_ms)}</dd>`}<dt>Reward</dt><dd>${number(one.reward)}</dd>
      ${one.blocked_by.length > 0 && html`<dt>Waits for</dt><dd>${one.blocked_by.map((other) => `${other.task_id} (${capital(other.status)})`).join(', ')}</dd>`}
      ${one.error_message && html`<dt>Failed because</dt><dd>${one.error_message}</dd>`}
      ${one.claim_hash && html`<dt>Result</dt><dd><a href=${`#/knowledge/${group.group_id}/${one.claim_hash}`}>the claim ${one.claim_hash.slice(0, 10)}</a></dd>`}</dl>
    ${one.description && html`<pre class="text" dir="auto" tabindex="0">${one.description}</pre>`}
    ${['pending', 'assigned'].includes(one.status) && !whyNot(group) && members.data && html`<hr /><${Form} verb="Assign" fields=${[{ name: 'assignee', label: 'Assign it to', options: members.data.members.map((member) => [member.member_id, `${called(member.member_id)} (${member.role})`]) }]}
      send=${({ assignee }) => post(['groups', group.group_id, 'tasks', one.task_id, 'assign'], { assignee })} sent=${() => { toast('Assigned.'); close(); }} />`}`}<//><//>`;
}

const slug = (title) => `${title.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '').slice(0, 40) || 'task'}-${Math.floor(Math.random() * 46656).toString(36)}`;

const MOST_TASKS = 500;
const MOST_SHOWN = 5;
/** Chooses tasks that have not ended: by their words, never by ids that nobody knows by heart. */
function WaitsFor({ group, field: { name, ...field } }) {
  const found = useData(() => get(['groups', group.group_id, 'tasks'], { open: true, reserved: false, limit: MOST_TASKS }), [group.group_id], () => false);
  const [chosen, choose] = useState([]);
  const [words, seek] = useState('');
  const open = (found.data?.tasks ?? []).filter((task) => !chosen.includes(task));
  const fits = open.filter((task) => `${task.title} ${task.task_id}`.toLowerCase().includes(words.trim().toLowerCase()));
  const add = (task) => { if (task) { choose([...chosen, task]); seek(''); } };
  return html`<input type="hidden" name=${name} value=${chosen.map((task) => task.task_id).join(',')} />
    <ul class="plain picked">${chosen.map((task) => html`<li class="row" key=${task.task_id}><span dir="auto">${task.title}</span>
      <button type="button" class="btn small" aria-label=${`Remove ${task.title}`} onClick=${() => choose(chosen.filter((one) => one !== task))}>Remove</button></li>`)}</ul>
    <input ...${field} type="search" value=${words} placeholder="Search the open tasks" onInput=${(event) => seek(event.target.value)}
      onKeyDown=${(event) => { if (event.key === 'Enter') { event.preventDefault(); add(words.trim() && fits[0]); } }} />
    <ul class="plain picks" aria-label="Open tasks">${fits.slice(0, MOST_SHOWN).map((task) => html`<li key=${task.task_id}><button type="button" class="btn small" aria-label=${`Wait for ${task.title}`} onClick=${() => add(task)}><span dir="auto">${task.title}</span></button></li>`)}</ul>
    ${found.data && html`<p class="help" role="status">${fits.length > MOST_SHOWN ? `${number(fits.length - MOST_SHOWN)} more fit: search for it.` : fits.length ? '' : open.length ? 'No open task has these words.' : 'No other task is open.'}${found.data.next_cursor ? ` Only ${number(MOST_TASKS)} of the open tasks are looked at.` : ''}</p>`}`;
}

const NewTask = ({ group }) => html`<${Opens} title="Create a task" button="Create a task" tone="primary" why=${whyNot(group)}>${(close) => html`
  <${Form} verb="Create the task" close=${close} fields=${[
    { name: 'title', label: 'Title', required: true, attrs: { maxlength: 256, autofocus: true } },
    { name: 'description', label: 'What is to be done', rows: 4 },
    { name: 'reward', label: 'Reward', type: 'number', help: 'Tokens for whoever completes it', attrs: { min: 0 } },
    { name: 'priority', label: 'Priority', options: Array.from({ length: 10 }, (_, n) => [String(n), n === 0 ? '0, least' : n === 9 ? '9, most' : String(n)]) },
    { name: 'due', label: 'Due', type: 'datetime-local' },
    { name: 'depends_on', label: 'Waits for', help: 'Nobody can begin it before these are completed', control: (field) => html`<${WaitsFor} group=${group} field=${field} />` }]}
    send=${({ title, description, reward, priority, due, depends_on }) => post(['groups', group.group_id, 'tasks'], {
      task_id: slug(title), title, description: description || undefined, reward, priority: Number(priority),
      due_ms: due ? new Date(due).getTime() : undefined, depends_on: depends_on ? depends_on.split(',') : [] })}
    sent=${() => { close(); toast('Created.'); }} />`}<//>`;

export function Tasks({ group }) {
  const [dragged, drag] = useState(null);
  const [shown, open] = useState(null);
  const [mine, setMine] = useState(false);
  return html`<${Page} title="Tasks" sub="Drag a card, or use its menu" actions=${html`
      <label class="row"><input type="checkbox" checked=${mine} onChange=${(event) => setMine(event.target.checked)} /> Only mine</label><${NewTask} group=${group} />`} />
    <div class="board" tabindex="0" role="region" aria-label="Board">${COLUMNS.map((column) => html`
      <${Column} key=${column[0]} group=${group} column=${column} open=${open} dragged=${dragged} drag=${drag} mine=${mine} />`)}</div>
    ${shown && html`<${Detail} group=${group} task=${shown} close=${() => open(null)} />`}`;
}
