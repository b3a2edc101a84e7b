// The exchange's data of a symbol, from the server's copy.

/** Returns the symbol's tick without zeros at the end, `0.5`; null if the server does not have it. */
export async function fetchTick(category, symbol, login) {
  const headers = login === null ? {} : { authorization: `Basic ${base64(`${login.user}:${login.key}`)}` };
  const query = new URLSearchParams({ category, symbol });
  try {
    const response = await fetch(`/v5/market/instruments-info?${query}`, { headers, credentials: "omit" });
    const { result } = await response.json();
    const tick = result.list.find((row) => row.symbol === symbol)?.priceFilter.tickSize;
    return /^\d+(\.\d+)?$/.test(tick) && Number(tick) > 0 ? tick.replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "") : null;
  } catch {
    return null;
  }
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
