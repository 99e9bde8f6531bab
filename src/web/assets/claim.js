// One claim: the thread that it stands in, where it comes from, and who has it.
import { html, useData, usePages, Await, More, Page, Card, Act, Id, Named, Final } from './ui.js';
import { ClaimRow, Publish } from './knowledge.js';
import { get, post } from './api.js';
import { link, whyNot } from './state.js';
import { full, called, plural } from './words.js';

const proofs = (evidence) => evidence.map((piece) => piece.note ?? piece.link ?? piece.hash ?? `${piece.command}${piece.exit_code == null ? '' : ` (ended with ${piece.exit_code})`}`);

export function ClaimPage({ group, hash, status }) {
  const mine = (event) => event.group_id === group.group_id && /^(claim|sealed|block|sync)/.test(event.type);
  const found = useData(async () => {
    const claim = await get(['groups', group.group_id, 'claims', hash]);
    return { claim, holders: await get(['groups', group.group_id, 'claims', claim.claim_hash, 'holders']) };
  }, [hash], mine);
  const thread = usePages((page) => get(['groups', group.group_id, 'claims', hash, 'thread'], page), (page) => page.claims, [hash], mine, 100);
  return html`<p><a href=${link('knowledge', group.group_id)}>Knowledge</a></p>
    ${!found.data && html`<h1 tabindex="-1">Claim</h1>`}
    <${Await} of=${found}>${({ claim, holders }) => html`
      <${Page} title=${claim.title ?? 'Claim'} actions=${html`
        <${Publish} group=${group} parent=${claim.claim_hash} button="Reply" title="Reply to this claim" />
        ${!claim.retracted && (group.role === 'admin' || claim.author === status.data.node.node_id) && html`<${Act} tone="danger" why=${whyNot(group, 'viewer')} run=${() => post(['groups', group.group_id, 'claims', claim.claim_hash, 'retract'])} done="Taken back."
          ask=${{ title: 'Take this claim back?', text: 'It stays in the history, and nobody is given it any more.', yes: 'Take it back' }}>Retract<//>`}`} />
      <${Card} title="Where it comes from"><dl class="facts">
        <dt>Author</dt><dd><${Named} id=${claim.author} /></dd>
        <dt>Published</dt><dd>${full(claim.created_ms)}, by its author’s clock</dd>
        <dt>Place</dt><dd><${Final} is=${claim.final} /> ${claim.final ? 'a seal fixes its place: nothing can come before it' : 'no seal covers it yet'}</dd>
        <dt>Hash</dt><dd><${Id} id=${claim.claim_hash} what="hash" whole=${true} /></dd>
        <dt>On</dt><dd>this node${holders.peers.map((peer) => html`, ${called(peer)}`)} ${holders.unknown > 0 && html`<span class="muted">; whether ${plural(holders.unknown, 'other member')} ${holders.unknown === 1 ? 'has' : 'have'} it is not known</span>`}</dd>
        ${claim.evidence.length > 0 && html`<dt>Evidence</dt><dd><ul class="plain">${proofs(claim.evidence).map((proof) => html`<li>${proof}</li>`)}</ul></dd>`}
        ${claim.valid_until_ms && html`<dt>True until</dt><dd>${full(claim.valid_until_ms)}</dd>`}
        ${claim.supersedes.length > 0 && html`<dt>Supersedes</dt><dd>${claim.supersedes.map((other) => html`<a href=${link('knowledge', group.group_id, other)}>${other.slice(0, 10)}</a> `)}</dd>`}
        ${claim.superseded_by.length > 0 && html`<dt>Superseded by</dt><dd>${claim.superseded_by.map((other) => html`<a href=${link('knowledge', group.group_id, other)}>${other.slice(0, 10)}</a> `)}</dd>`}
      </dl><//>
      <${Card} title="Thread"><${Await} of=${thread}>${({ rows }) => html`<div class="thread">${rows.map((row) => html`
        <${ClaimRow} key=${row.claim_hash} claim=${row} group=${group} cls=${`whole depth-${Math.min(row.depth, 5)} ${row.claim_hash === claim.claim_hash ? 'here' : ''}`} />`)}</div>`}<//>
        <${More} pages=${thread} what="claims" /><//>`}<//>`;
}
