import type { Transactions } from '../transactions';

export const lockTokens: Transactions['lockTokens'] = () => Promise.resolve();
export const lockIndex: Transactions['lockIndex'] = () => Promise.resolve();
