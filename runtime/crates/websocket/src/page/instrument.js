// The exchange's data of a symbol, from the server's copy.

import { get } from "./rest.js";

/** Returns the symbol's tick without zeros at the end, `0.5`; null if the server does not have it. */
export async function fetchTick(category, symbol, login) {
  try {
    const response = await get("/v5/market/instruments-info", { category, symbol }, login);
    const { result } = await response.json();
    const tick = result.list.find((row) => row.symbol === symbol)?.priceFilter.tickSize;
    return /^\d+(\.\d+)?$/.test(tick) && Number(tick) > 0 ? tick.replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "") : null;
  } catch {
    return null;
  }
}
