// Numbers, times and names as people read them.
const rtf = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'narrow' });
const STEPS = [[60, 'second', 1], [3600, 'minute', 60], [86400, 'hour', 3600], [86400 * 30, 'day', 86400], [Infinity, 'month', 86400 * 30]];

export function ago(ms, now = Date.now()) {
  if (!ms) return 'never';
  const s = Math.round((ms - now) / 1000);
  if (Math.abs(s) < 3) return 'now';
  const [, unit, size] = STEPS.find(([limit]) => Math.abs(s) < limit);
  return rtf.format(s > 0 ? Math.round(s / size) : Math.trunc(s / size), unit);
}

export const full = (ms) => (ms ? new Date(ms).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' }) : 'never');
export const number = (n) => (n ?? 0).toLocaleString('en');
export const plural = (n, word) => `${number(n)} ${word}${n === 1 ? '' : 's'}`;
export const short = (id) => (id ? (id.startsWith('12D3Koo') ? `…${id.slice(-8)}` : id.slice(0, 10)) : '–');
export const capital = (text) => (text ? text[0].toUpperCase() + text.slice(1).replaceAll('_', ' ') : '');

export function span(seconds) {
  for (const [size, unit] of [[86400, 'd'], [3600, 'h'], [60, 'min']]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${seconds} s`;
}

export function bytes(n) {
  if (n < 1024) return `${n} B`;
  return n < 1024 * 1024 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1024 / 1024).toFixed(1)} MiB`;
}

export const rtt = (us) => (us == null ? '–' : us < 1000 ? `${us} µs` : `${(us / 1000).toFixed(1)} ms`);

// What is called how: the node itself, its agents, the peers that have a name here.
const names = new Map();
export function learn(id, name) { if (id && name) names.set(id, name); }
export const isNamed = (id) => names.has(id);
export const called = (id) => names.get(id) ?? short(id);

// What the daemon names as a command, and where it is done here.
const PLACES = {
  'peer list': 'the page Peers', 'peer bans': 'the page Peers', 'peer add': 'Peers, Add a peer', 'peer remove': 'Peers, Forget', 'peer unban': 'Peers, Let it back', sync: 'Peers, Sync now',
  'group list': 'the list at the side', 'group join': 'Overview, Join by a ticket', 'group invite': 'Group, Invite', 'group leave': 'Group, Leave', 'group set-role': 'Group, Role',
  'group policy': 'Group, Policy', 'group unfreeze': 'Group, Unfreeze', 'group add-member': 'Group, Add a member', 'offer limit': 'Tokens, Limit', 'market pull': 'Market, Ask peers now',
  'agent create': 'Agents, Make an agent', 'agent limit': 'Agents, Limit', stranded: 'Events, Writes left behind', reload: 'Settings, Read again', doctor: 'Settings, Doctor',
};
const PAGES = { group: 'Group', offer: 'Market', library: 'Market', task: 'Tasks', claim: 'Knowledge', agent: 'Agents', status: 'Settings', health: 'Settings' };
const CLI_ONLY = /^lbm ctl (group (alone|set-notary)|task reserve|subscription|admin|claim publish --file)\b/;
const place = (command) => {
  const [, verb, noun] = /^lbm ctl ([a-z]+)(?: ([a-z-]+))?/.exec(command) ?? [];
  return PLACES[`${verb} ${noun}`] ?? PLACES[verb] ?? (PAGES[verb] && `the page ${PAGES[verb]}`);
};
/** What the daemon says, with the places of this panel for the commands that it names. One with ids in it is for another machine, and stays. */
export const placed = (said) => said.replace(/`(lbm ctl [^`]*)`/g, (whole, command) => (/12D3Koo|[0-9a-f]{64}/.test(command) || CLI_ONLY.test(command) ? whole : place(command) ?? whole));

/** An event as a sentence, and how it looks: good, bad, or neither. */
export function told(event, groupName) {
  const who = (id) => called(id);
  const where = event.group_id ? groupName(event.group_id) : '';
  const at = where ? ` in ${where}` : '';
  switch (event.type) {
    case 'claim_published': return [`${who(event.author)} published a claim${at}`, 'good'];
    case 'claim_retracted': return [`${who(event.author)} took a claim back${at}`, ''];
    case 'experience_submitted': return [`${who(event.author)} submitted an experience${at}`, ''];
    case 'group_joined': return [`This node has the group ${event.name}`, 'good'];
    case 'group_left': return ['This node has left a group', ''];
    case 'member_changed': return [`${who(event.member_id)} is ${event.role ?? 'no member any more'}${at}`, ''];
    case 'member_joined': return [`${who(event.member_id)} came in by a ticket${at}`, 'good'];
    case 'join_request': return [`${event.name} asks to be let into ${where}`, 'warn'];
    case 'admitted': return [`${who(event.member_id)} was let in${at}`, 'good'];
    case 'turned_away': return [`${who(event.member_id)} was turned away: ${event.code}`, 'bad'];
    case 'task_changed': return [`The task ${event.task_id} is ${event.status.replace('_', ' ')}${event.assignee ? `, with ${who(event.assignee)}` : ''}${at}`, ''];
    case 'tokens_moved': return [`${who(event.author)}: ${event.kind.replace('_', ' ')} of ${number(event.amount)} to ${who(event.to)}${at}`, ''];
    case 'policy_changed': return [`${who(event.author)} changed the policy${at}`, ''];
    case 'offer_listed': return [`${who(event.seller)} sells “${event.title}” for ${number(event.price)}`, 'good'];
    case 'offer_withdrawn': return [`${who(event.seller)} sells an offer no more`, ''];
    case 'purchase_changed': return [`A purchase is ${event.status.replaceAll('_', ' ')}${at}`, ''];
    case 'presence': return [`${who(event.member_id)} is ${event.status}${at}`, ''];
    case 'block_rejected': return [`A block of ${who(event.author)} is refused${at}: ${event.reason}`, 'bad'];
    case 'block_reinstated': return [`A block of ${who(event.author)} counts again${at}`, 'good'];
    case 'fork_detected': return [`${who(event.author)} signed two blocks with one number${at}`, 'bad'];
    case 'sealed': return [`Seal ${event.epoch}${at}: what came before is final`, ''];
    case 'notary_changed': return [`${who(event.notary)} seals from the next seal on${at}`, ''];
    case 'unfrozen': return [`${who(event.member_id)} may spend again${at}`, 'good'];
    case 'own_line_in_doubt': return [`This node may not know its own last block${at}`, 'bad'];
    case 'membership_refused': return [`${who(event.by)} says that this node is no member any more${at}`, 'bad'];
    case 'membership_served': return [`This node is served again${at}`, 'good'];
    case 'own_line_settled': return [`This node knows its last block again${at}`, 'good'];
    case 'peer_connected': return [`${who(event.peer_id)} is connected`, 'good'];
    case 'peer_disconnected': return [`${who(event.peer_id)} is gone`, 'warn'];
    case 'own_key_seen': return [`Another machine uses this node’s key, at ${event.address}`, 'bad'];
    case 'clock_ahead': return [`The clock of ${who(event.member_id)} is ahead by ${span(Math.round(event.ahead_ms / 1000))}`, 'bad'];
    case 'sync_finished': return [`Synced with ${who(event.peer_id)}${at}: ${plural(event.blocks, 'block')}`, ''];
    case 'not_shared': return [`${who(event.peer_id)} does not share ${where}`, 'warn'];
    case 'reset': return ['The daemon counts its events anew', ''];
    case 'missed': return [`${plural(event.count, 'event')} went by unseen`, 'warn'];
    default: return [`Something that this page does not know: ${event.type}`, ''];
  }
}
