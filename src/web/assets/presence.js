// What the members say of themselves right now.
import { html, useData, Await, Page, Card, Empty, Table, Badge, When, Who, Opens, Form, toast } from './ui.js';
import { get, put } from './api.js';
import { whyNot } from './state.js';
import { learn } from './words.js';

const WORDS = ['active', 'busy', 'idle', 'offline'];

export function Presence({ group }) {
  const id = group.group_id;
  const found = useData(async () => {
    const list = await get(['groups', id, 'presence']);
    list.presence.forEach((one) => learn(one.member_id, one.name));
    return list;
  }, [id], (event) => event.group_id === id && /^(presence|member)/.test(event.type));
  return html`<${Page} title="Presence" sub=${`Who of ${group.name} is at work`} actions=${html`<${Opens} title="Say what this node is up to" button="Set mine" tone="primary" why=${whyNot(group, 'viewer')}>${(close) => html`
      <${Form} verb="Say so" close=${close} fields=${[{ name: 'status', label: 'Status', options: WORDS.map((word) => [word, word]) }, { name: 'note', label: 'What it works on', attrs: { maxlength: 500 } }]}
        send=${({ status, note }) => put(['groups', id, 'presence'], { status, metadata: note ? { note } : undefined })} sent=${() => { close(); toast('Members are being told.'); }} />`}<//>`} />
    <${Card}><${Await} of=${found}>${({ presence }) => (presence.length ? html`<${Table} label="Presence" rows=${presence} keyOf=${(one) => one.member_id} columns=${[
      ['Member', (one) => html`<${Who} id=${one.member_id} />${one.is_self ? html` <${Badge} tone="accent">this node<//>` : ''}`],
      ['Status', (one) => html`<${Badge} tone=${one.is_stale ? '' : { active: 'good', busy: 'warn' }[one.status] ?? ''}>${one.status}<//>${one.is_stale ? html` <span class="muted">said long ago</span>` : ''}`],
      ['Says', (one) => (one.metadata ? Object.entries(one.metadata).map(([key, value]) => html`<div key=${key}><span class="muted">${key}</span> ${typeof value === 'string' ? value : JSON.stringify(value)}</div>`) : '')],
      ['When', (one) => html`<${When} ms=${one.updated_ms} />`]]} />`
      : html`<${Empty} title="Nobody has said anything yet"><p>Agents say what they are up to while they work. Say so for this node with the button above.</p><//>`)}<//><//>`;
}
