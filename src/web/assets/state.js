// What all pages share: who looks, and the groups of the node.
export const session = { viewer: false, role: undefined };

/** The groups by id, as the last page that fetched them found them. */
export const groups = new Map();
export const groupName = (id) => groups.get(id)?.name ?? (id ? id.slice(0, 8) : '');

/** The address of a page. */
export const link = (...parts) => `#/${parts.map(encodeURIComponent).join('/')}`;
