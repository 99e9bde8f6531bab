// What happens, what was refused; what is well, and the settings in force.
import { html, useState, useData, useEvents, usePages, Await, More, Page, Card, Empty, Table, Badge, When, Who, Id, Act } from './ui.js';
import { get } from './api.js';
import { groupName, link } from './state.js';
import { told, full, number, capital } from './words.js';

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

export function Events({ rest }) {
  const rejected = rest[0] === 'rejected';
  return html`<${Page} title="Events" sub="What happens, as it happens" actions=${html`<a class="btn" href=${link('events')} aria-current=${rejected ? undefined : 'page'}>Everything</a><a class="btn" href=${link('events', 'rejected')} aria-current=${rejected ? 'page' : undefined}>Refused blocks</a>`} />
    ${rejected ? html`<${Rejected} />` : html`<${Feed} />`}`;
}

const shown = (value) => (value === null || (Array.isArray(value) && !value.length) ? '–' : Array.isArray(value) ? value.join(', ') : String(value));

function Doctor() {
  const [found, setFound] = useState(null);
  return html`<${Card} title="Doctor" side=${html`<${Act} tone="small" run=${async () => setFound((await get(['doctor'])).findings)} allowed=${true}>Look now<//>`}>
    ${found ? html`<ul class="feed">${found.map((one) => html`<li key=${one.code + one.detail} class=${{ ok: 'good', warning: 'warn', problem: 'bad' }[one.severity]}><span>${one.detail}${one.remedy && html`<br /><span class="muted">${one.remedy}</span>`}</span></li>`)}</ul>`
      : html`<p class="muted">Looks at the data folder, the clock, the ports and the network of this machine. It takes up to a second.</p>`}<//>`;
}

export function Settings() {
  const found = useData(async () => {
    const [{ settings }, health] = await Promise.all([get(['settings']), get(['health'])]);
    return { settings, health };
  }, [], (event) => /^(peer|group|own)/.test(event.type));
  return html`<${Page} title="Settings" sub="With what the daemon runs, and whether it is well" />
    <${Await} of=${found}>${({ settings, health }) => html`<div class="grid">
      <${Card} title="Health" side=${html`<${Badge} tone=${health.ok ? 'good' : 'bad'}>${health.ok ? 'well' : 'not well'}<//>`}><ul class="feed">${health.checks.map((check) => html`<li key=${check.name} class=${check.ok ? 'good' : 'bad'}>
        <span><strong>${capital(check.name)}</strong>: ${check.detail}${check.remedy && html`<br /><span class="muted">${check.remedy}</span>`}</span></li>`)}</ul><//><${Doctor} /></div>
      <${Card} title="Settings in force" side="flag, then environment, then file, then default"><${Table} label="Settings" rows=${settings} keyOf=${(one) => one.key} columns=${[
        ['Setting', (one) => html`<code>${one.key}</code>`], ['Value', (one) => shown(one.value)], ['From', (one) => (one.origin === 'default' ? html`<span class="muted">default</span>` : one.origin)], ['Environment', (one) => html`<code class="muted">${one.environment}</code>`]]} /><//>`}<//>`;
}
