/** A secret, or a function that is asked for it when somebody must log in. */
export type Secret = string | (() => string | undefined | Promise<string | undefined>);

/** How to log in. `mount` is the path of the auth method, by default its usual one. */
export type VaultAuth =
  | {
      readonly method: 'approle';
      readonly roleId: string;
      readonly secretId: Secret;
      readonly mount?: string;
    }
  | {
      readonly method: 'kubernetes';
      readonly role: string;
      /** File with the token of the service account. Defaults to where Kubernetes puts it. */
      readonly tokenPath?: string;
      readonly mount?: string;
    }
  | {
      readonly method: 'userpass';
      readonly username: string;
      readonly password: Secret;
      readonly mount?: string;
    };
