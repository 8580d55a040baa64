/** What a run does to the rows. */
export type RunMode = 'encrypt' | 'reencrypt' | 'reindex' | 'decrypt' | 'verify';
