/** What a run does to the rows. */
export type RunMode = 'encrypt' | 'reencrypt' | 'reindex' | 'decrypt' | 'verify';

/** Modes that change rows, which several workers may share. */
export const WRITING_MODES = ['encrypt', 'reencrypt', 'reindex', 'decrypt'] as const;

/** One of {@link WRITING_MODES}. */
export type WritingMode = (typeof WRITING_MODES)[number];
