// What happens, what was refused; what is well, and the settings in force.
import { html, useState, useData, useEvents, usePages, Await, More, Page, Card, Empty, Table, Badge, When, Who, Id, Act, copy } from './ui.js';
import { get, act } from './api.js';
import { groupName, link } from './state.js';
import { told, full, number, capital, placed } from './words.js';

function Feed() {
  const events = useEvents();
  const [only, setOnly] = useState('');
  const kinds = [...new Set(events.map((event) => event.type))].sort();
  const shown = events.filter((event) => !only || event.type === only);
  return html`<${Card} title="Since the daemon started" side=${html`<label class="row">Only <select value=${only} onChange=${(event) => setOnly(event.target.value)}><option value="">everything</option>
      ${kinds.map((kind) => html`<option value=${kind}>${capital(kind)}</option>`)}</select></label>`}>
    ${shown.length ? html`<ul class="feed">${shown.slice(0, 200).map((event) => { const [text, tone] = told(event, groupName); return html`<li class=${tone} key=${event.seq}><span>${text}</span><${When} ms=${event.at_ms} /></li>`; })}</ul>`
      : html`<${Empty} title="Nothing has happened yet"><p>Whatever members, peers and agents do shows here as it happens.</p><//>`}<//>`;
}

function Rejected() {
  const pages = usePages((page) => get(['rejected'], page), (page) => page.rejected, [], (event) => /^(block|sealed)/.test(event.type), 50);
  return html`<${Card} title="Refused blocks"><${Await} of=${pages}>${({ rows }) => (rows.length ? html`<${Table} label="Refused blocks" rows=${rows} keyOf=${(one) => one.block_id} columns=${[
    ['What', (one) => html`<div>${one.what}<br /><span class="muted">${one.reason}</span></div>`], ['Who', (one) => html`<${Who} id=${one.author} />`], ['Group', (one) => groupName(one.group_id)],
    ['When', (one) => html`<${When} ms=${one.created_ms} />`], ['Stays so', (one) => html`<${Badge} tone=${one.final ? 'bad' : 'warn'}>${one.final ? 'yes' : 'not yet'}<//>`]]} />`
    : html`<${Empty} title="No block is refused"><p>What a ledger does not take is kept, and listed here with the reason.</p><//>`)}<//><${More} pages=${pages} what="blocks" /><//>`;
}

const Stranded = () => {
  const pages = usePages((page) => get(['stranded'], page), (page) => page.stranded, [], (event) => /^(block|sealed|member|group)/.test(event.type), 50);
  return html`<${Card} title="Writes left behind"><p class="help">They were written before it was known that their author is no member any more: the group may never get them. Let in again, their author hands them in, and the ledger refuses what it wrote as no member. They end where this node leaves the group: copy what is worth it, and publish it anew.</p>
    <${Await} of=${pages}>${({ rows }) => (rows.length ? html`<${Table} label="Writes left behind" rows=${rows} keyOf=${(one) => `${one.block_id}${one.transaction}`} columns=${[
    ['What', (one) => html`<div>${one.what}${one.claim?.text && html`<p class="text" dir="auto">${one.claim.text}</p>`}</div>`], ['Who', (one) => html`<${Who} id=${one.author} />`], ['Group', (one) => groupName(one.group_id)],
    ['When', (one) => html`<${When} ms=${one.created_ms} />`],
    ['', (one) => one.claim?.text && html`<button class="btn small" aria-label=${`Copy the claim ${one.claim.text.slice(0, 40)}`} onClick=${() => copy(one.claim.text, 'claim')}>Copy</button>`, 'fit']]} />`
    : html`<${Empty} title="Nothing is left behind"><p>What this node has written is with its groups, or on its way.</p><//>`)}<//><${More} pages=${pages} what="writes" /><//>`;
};

const VIEWS = [[undefined, 'Everything', Feed], ['rejected', 'Refused blocks', Rejected], ['stranded', 'Writes left behind', Stranded]];
export function Events({ rest }) {
  const shown = VIEWS.find(([name]) => name === rest[0]) ?? VIEWS[0];
  return html`<${Page} title="Events" sub="What happens, as it happens" actions=${VIEWS.map((view) => html`<a class="btn" href=${view[0] ? link('events', view[0]) : link('events')} aria-current=${view === shown ? 'page' : undefined}>${view[1]}</a>`)} />
    <${shown[2]} />`;
}

const shown = (value) => (value === null || (Array.isArray(value) && !value.length) ? '–' : Array.isArray(value) ? value.join(', ') : String(value));

function Doctor() {
  const [found, setFound] = useState(null);
  return html`<${Card} title="Doctor" side=${html`<${Act} tone="small" run=${async () => setFound((await get(['doctor'])).findings)} why=${null}>Look now<//>`}>
    ${found ? html`<ul class="feed">${found.map((one) => html`<li key=${one.code + one.detail} class=${{ ok: 'good', warning: 'warn', problem: 'bad' }[one.severity]}><span>${one.detail}${one.remedy && html`<br /><span class="muted">${placed(one.remedy)}</span>`}</span></li>`)}</ul>`
      : html`<p class="muted">Looks at the data folder, the clock, the ports and the network of this machine. It takes up to a second.</p>`}<//>`;
}

const reread = ({ applied, needs_restart }) => `${applied.length ? `In force now: ${applied.join(', ')}.` : 'The file says nothing new.'}${needs_restart.length ? ` After a restart of the daemon: ${needs_restart.join(', ')}.` : ''}`;

export function Settings() {
  const found = useData(async () => {
    const [{ settings }, health] = await Promise.all([get(['settings']), get(['health'])]);
    return { settings, health };
  }, [], (event) => /^(peer|group|own)/.test(event.type));
  return html`<${Page} title="Settings" sub="With what the daemon runs, and whether it is well" actions=${html`<${Act} run=${() => act(['reload']).then((told) => { found.reload(); return told; })} done=${reread}>Read again<//>`} />
    <${Await} of=${found}>${({ settings, health }) => html`<div class="grid">
      <${Card} title="Health" side=${html`<${Badge} tone=${health.ok ? 'good' : 'bad'}>${health.ok ? 'well' : 'not well'}<//>`}><ul class="feed">${health.checks.map((check) => html`<li key=${check.name} class=${check.ok ? 'good' : 'bad'}>
        <span><strong>${capital(check.name)}</strong>: ${check.detail}${check.remedy && html`<br /><span class="muted">${placed(check.remedy)}</span>`}</span></li>`)}</ul><//><${Doctor} /></div>
      <${Card} title="Settings in force" side="flag, then environment, then file, then default"><${Table} label="Settings" rows=${settings} keyOf=${(one) => one.key} columns=${[
        ['Setting', (one) => html`<code>${one.key}</code>`], ['Value', (one) => shown(one.value)], ['From', (one) => (one.origin === 'default' ? html`<span class="muted">default</span>` : one.origin)], ['Environment', (one) => html`<code class="muted">${one.environment}</code>`]]} /><//>`}<//>`;
}
