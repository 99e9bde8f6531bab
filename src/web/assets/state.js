// What all pages share: who looks, and the groups of the node.
export const session = { viewer: false, role: undefined };

/** The groups by id, as the last page that fetched them found them. */
export const groups = new Map();
export const groupName = (id) => groups.get(id)?.name ?? (id ? id.slice(0, 8) : '');

/** The groups that agents of this node are members of. */
export const hosted = new Set();
/** Whether a group is here whose member neither this node nor an agent of it is any more. */
export const isOut = (group) => !group.joining && (Boolean(group.shut_out) || (!group.role && !hosted.has(group.group_id)));

/** The address of a page. */
export const link = (...parts) => `#/${parts.map(encodeURIComponent).join('/')}`;
