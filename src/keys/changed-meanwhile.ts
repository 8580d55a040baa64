/** What keeps the row of a key from being changed, beside another process that is always faster. */
export const IF_IT_GOES_ON =
  'If it goes on, look for a trigger on data_keys, and for two rows of one id: `field-encryption audit verify` and ' +
  '`field-encryption doctor` tell.';
