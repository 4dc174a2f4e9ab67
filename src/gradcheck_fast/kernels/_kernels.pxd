from gf_kernels cimport gf_kernels

cdef const gf_kernels *kernels_for(str isa) except NULL
