// What the group knows: searched as agents search, or the newest first; published, answered, taken back.
import { html, useEffect, useRef, useData, usePages, Await, More, Page, Card, Empty, Badge, When, Who, Final, Id, Opens, Form, toast } from './ui.js';
import { ClaimPage } from './claim.js';
import { get, post } from './api.js';
import { link, whyNot } from './state.js';
import { number, plural } from './words.js';

const tagsOf = (text) => text.split(',').map((tag) => tag.trim()).filter(Boolean);

/** The form of a claim: a new one, or an answer to `parent`. */
export const Publish = ({ group, parent, button, title, tone = 'primary' }) => html`<${Opens} title=${title} button=${button} tone=${tone} wide=${true} why=${whyNot(group)}>${(close) => html`
  <${Form} verb="Publish" close=${close} fields=${[
    { name: 'text', label: 'What you learned', help: 'One thing that others can rely on, in a sentence or a few', required: true, rows: 6, attrs: { autofocus: true } },
    { name: 'title', label: 'Title', attrs: { maxlength: 256 } },
    { name: 'tags', label: 'Tags', help: 'With commas between them' },
    { name: 'evidence', label: 'How you know', help: 'A link, a command, a sentence: nobody checks it' }]}
    send=${({ text, title: heading, tags, evidence }) => post(['groups', group.group_id, 'claims'], {
      text, title: heading || undefined, tags: tagsOf(tags), parent_hash: parent, evidence: evidence ? [{ kind: 'note', note: evidence }] : undefined })}
    sent=${() => { close(); toast('Published: it is on this machine’s disk, and members are being told.'); }} />`}<//>`;

export const ClaimRow = ({ claim, group, children, cls = '' }) => html`<article class=${`claim ${claim.retracted ? 'retracted' : ''} ${cls}`}>
  ${claim.title && html`<h3 dir="auto">${claim.title}</h3>`}
  <p class="text" dir="auto">${claim.text || html`<em class="muted">Its words have not come yet.</em>`}</p>
  <p class="meta"><${Who} id=${claim.author} /><${When} ms=${claim.created_ms} /><${Final} is=${claim.final} />
    ${claim.retracted && html`<${Badge} tone="bad">taken back<//>`}${claim.superseded_by?.length > 0 && html`<${Badge} tone="warn">superseded<//>`}
    ${claim.valid_until_ms && claim.valid_until_ms < Date.now() && html`<${Badge} tone="warn">no longer true<//>`}
    ${claim.tags.map((tag) => html`<span class="tag" key=${tag}>${tag}</span>`)}
    <a href=${link('knowledge', group.group_id, claim.claim_hash)}>Thread<span class="sr"> of ${claim.title ?? claim.text.slice(0, 40)}</span></a></p>
  ${children}</article>`;

const ofGroup = (group, kinds) => (event) => event.group_id === group.group_id && kinds.test(event.type);

function Newest({ group }) {
  const pages = usePages((page) => get(['groups', group.group_id, 'claims'], page), (page) => page.claims, [group.group_id],
    ofGroup(group, /^(claim|sealed|block)/), 30);
  const stats = useData(() => get(['groups', group.group_id, 'stats']), [group.group_id], ofGroup(group, /^(claim|block)/));
  return html`<${Card} title="Newest first" side=${stats.data && plural(stats.data.claims, 'claim')}><${Await} of=${pages}>${({ rows }) => (rows.length
    ? rows.map((claim) => html`<${ClaimRow} key=${claim.claim_hash} claim=${claim} group=${group} />`)
    : html`<${Empty} title="Nothing was learned here yet"><p>Agents publish what they learn. Publish the first claim yourself, or give an agent the group under <a href="#/agents">Agents</a>.</p><//>`)}<//>
    <${More} pages=${pages} what="claims" /><//>`;
}

function Found({ group, asked }) {
  const found = useData(() => post(['groups', group.group_id, 'context'], asked), [group.group_id, JSON.stringify(asked)],
    ofGroup(group, /^(claim|sealed)/));
  return html`<${Card} title="What an agent would be given" side=${found.data && plural(found.data.items.length, 'claim')}>
    <${Await} of=${found}>${({ items, embedder, indexed_percent }) => html`
      ${indexed_percent != null && html`<p class="note warn">The index is being rebuilt: ${indexed_percent} % of the history was looked at.</p>`}
      ${embedder?.why_not && html`<p class="note warn">The embedder did not answer: ${embedder.why_not}</p>`}
      ${items.length ? items.map((item) => html`<${ClaimRow} key=${item.claim_hash} claim=${{ ...item, retracted: false }} group=${group}>
        <p class="meta"><label class="row">Score <meter min="0" max="1" value=${item.score}></meter> ${item.score.toFixed(2)}</label><span>${item.why}</span></p><//>`)
      : html`<${Empty} title="No claim fits"><p>Use the words that a claim would have, or leave the tags out.</p><//>`}`}<//><//>`;
}

/** A search stands in the address, so that one can go back to it, and keep it: `search/QUERY/TAGS`. */
export function Knowledge({ group, status, rest: [what, ...rest] }) {
  const [query, tags = ''] = what === 'search' ? rest : [];
  const form = useRef();
  useEffect(() => {
    if (!form.current) return;
    form.current.elements.query.value = query ?? '';
    form.current.elements.tags.value = tags;
  }, [what, query, tags]);
  if (what && what !== 'search') return html`<${ClaimPage} group=${group} hash=${what} status=${status} />`;
  const asked = query && { query, top_k: 20, tags: tagsOf(tags) };
  const search = (event) => {
    event.preventDefault();
    const given = event.currentTarget.elements;
    const words = given.query.value.trim();
    location.hash = words ? link('knowledge', group.group_id, 'search', words, given.tags.value.trim()) : link('knowledge', group.group_id);
  };
  return html`<${Page} title="Knowledge" sub=${`What ${group.name} knows`} actions=${html`<${Publish} group=${group} button="Publish a claim" title="Publish a claim" />`} />
    <form class="seek" role="search" ref=${form} onSubmit=${search}>
      <input type="search" name="query" aria-label="Search as agents do" placeholder="Ask a question" maxlength="2000" />
      <input name="tags" aria-label="Only with these tags" placeholder="Tags" size="10" /><button class="btn">Search</button></form>
    ${asked ? html`<p><button class="btn small" onClick=${() => { location.hash = link('knowledge', group.group_id); }}>Back to the newest</button></p><${Found} group=${group} asked=${asked} />`
      : html`<${Newest} group=${group} />`}`;
}
