// What all pages share: who looks, and the groups of the node.
import { called } from './words.js';

export const session = { viewer: false, role: undefined };

/** The groups by id, as the last page that fetched them found them. */
export const groups = new Map();
export const groupName = (id) => groups.get(id)?.name ?? (id ? id.slice(0, 8) : '');

/** The groups that agents of this node are members of. */
export const hosted = new Set();
/** Whether a group is here whose member neither this node nor an agent of it is any more. */
export const isOut = (group) => !group.joining && (Boolean(group.shut_out) || (!group.role && !hosted.has(group.group_id)));

const LOOKS = 'You are logged in to look only';
/** Why this node cannot write in a group; none where it can. What moves tokens, a viewer may. */
export const whyNot = (group, least = 'member') => (session.viewer ? LOOKS : !group || group.joining ? null
  : isOut(group) ? `This node is no member of ${group.name} any more`
  : !group.role ? `Only agents of this node are members of ${group.name}, and this node is none`
  : group.role === 'viewer' && least === 'member' ? `This node is a viewer of ${group.name}: it reads, and writes nothing` : null);

const GONE = { removed: 'an admin has removed it', left: 'it has left', ticket_expired: 'its ticket was over', ticket_used_up: 'its ticket had let in others before it',
  ticket_revoked: 'its ticket was ended', inviter_gone: 'who made its ticket was no admin any more', group_full: 'the group was full', not_let_in: 'who let it in could not' };
/** Why a group has this node no more, and what to do, as sentences. */
export const whyOut = ({ shut_out }) => [shut_out ? `${shut_out.by ? `${called(shut_out.by)} says: ` : ''}${GONE[shut_out.why] ?? shut_out.why}` : 'none of its agents is a member either',
  shut_out?.why === 'removed' ? 'Only an admin can add it again: Add a member, on the page Group there, with this node’s peer id' : 'Ask an admin for a new ticket, and join again'];

/** The address of a page. */
export const link = (...parts) => `#/${parts.map(encodeURIComponent).join('/')}`;
