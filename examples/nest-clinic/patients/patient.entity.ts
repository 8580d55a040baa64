import { Column, DeleteDateColumn, Entity, Index, PrimaryGeneratedColumn } from 'typeorm';
import { BlindIndex, Encrypted } from 'typeorm-field-encryption';

@Entity()
export class Patient {
  @PrimaryGeneratedColumn('uuid')
  id!: string;

  @Index()
  @Column()
  tenantId!: string;

  @Column()
  name!: string;

  @Encrypted()
  @BlindIndex({ normalize: 'email' })
  email!: string;

  @Encrypted({ nullable: true })
  ssn!: string | null;

  @DeleteDateColumn()
  deletedAt!: Date | null;
}
