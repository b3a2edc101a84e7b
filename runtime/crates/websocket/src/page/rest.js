// Requests to the server's REST endpoints, with the credentials of the page's log-in.

/** Sends a GET request; `login` is `{ user, key }`, or null on a server that needs none. */
export function get(path, query, login, signal) {
  const headers = login === null ? {} : { authorization: `Basic ${base64(`${login.user}:${login.key}`)}` };
  return fetch(`${path}?${new URLSearchParams(query)}`, { headers, signal, credentials: "omit", cache: "no-store" });
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
